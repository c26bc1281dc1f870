package service

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheHeapGrowsLessTheMoreIsLive(t *testing.T) {
	t.Parallel()
	const mebibyte = 1 << 20
	for live, want := range map[uint64]int{0: 300, 10 * mebibyte: 300, 32 * mebibyte: 300, 64 * mebibyte: 100, 80 * mebibyte: 60, 120 * mebibyte: 50, 600 * mebibyte: 50} {
		require.Equal(t, want, gcPercentFor(live), "%d MiB", live/mebibyte)
	}
}
