package erasure

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProgressIsRememberedUntilItIsTaken(t *testing.T) {
	t.Parallel()
	var s progressStore
	now := time.Now()
	require.Zero(t, s.take("x", now))
	s.put("x", progress{intake: 1, rejected: 2, outbox: 3}, now)
	known := s.take("x", now.Add(progressAge))
	require.Equal(t, progress{intake: 1, rejected: 2, outbox: 3, at: now}, known)
	require.Zero(t, s.take("x", now), "a finished erasure starts from the beginning")
	s.put("x", known, now)
	require.Zero(t, s.take("x", now.Add(progressAge+1)), "it is too old")
}

func TestRememberedProgressIsBounded(t *testing.T) {
	t.Parallel()
	var s progressStore
	now := time.Now()
	for n := range maxProgress + 10 {
		s.put(strconv.Itoa(n), progress{rejected: 1}, now.Add(time.Duration(n)))
	}
	require.Len(t, s.byRecipient, maxProgress)
	require.Zero(t, s.take("9", now), "the oldest is gone")
	require.NotZero(t, s.take("10", now))
}
