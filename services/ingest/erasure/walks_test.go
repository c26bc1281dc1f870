package erasure

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAWalkIsRememberedUntilItIsTaken(t *testing.T) {
	t.Parallel()
	var w walks
	now := time.Now()
	require.Zero(t, w.take("x", now))
	w.keep("x", walk{intake: 1, rejected: 2, outbox: 3}, now)
	known := w.take("x", now.Add(walkLife))
	require.Equal(t, walk{intake: 1, rejected: 2, outbox: 3, at: now}, known)
	require.Zero(t, w.take("x", now), "a finished erasure begins anew")
	w.keep("x", known, now)
	require.Zero(t, w.take("x", now.Add(walkLife+1)), "it is too old to be believed")
}

func TestWalksAreBounded(t *testing.T) {
	t.Parallel()
	var w walks
	now := time.Now()
	for n := range mostWalks + 10 {
		w.keep(strconv.Itoa(n), walk{rejected: 1}, now.Add(time.Duration(n)))
	}
	require.Len(t, w.byTo, mostWalks)
	require.Zero(t, w.take("9", now), "the oldest went")
	require.NotZero(t, w.take("10", now))
}
