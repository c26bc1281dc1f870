package transport

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTextIsCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	require.Equal(t, "éé", CleanText([]byte("ééé"), 5))
	require.Equal(t, "ab", CleanText([]byte("a\x00b"), 5))
	require.Empty(t, CleanText([]byte("é"), 1))
	require.LessOrEqual(t, len(CleanText([]byte(strings.Repeat("a\xff", 100)), 50)), 50)
}
