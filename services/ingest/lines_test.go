package ingest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"
)

func TestLinesThatWaitShareTheRoomOfBodies(t *testing.T) {
	t.Parallel()
	shared := semaphore.NewWeighted(100)
	one := func() line { return line{data: make([]byte, 100-lineOverhead)} }
	crowded, alone := newLineQueue(shared), newLineQueue(shared)
	require.True(t, crowded.put(one()))
	require.False(t, shared.TryAcquire(1), "all of it is taken")
	require.True(t, alone.put(one()), "a first line has room always")

	waited := make(chan bool)
	go func() { waited <- crowded.put(one()) }()
	lines, err := crowded.take()
	require.NoError(t, err)
	require.NotEmpty(t, lines)
	require.True(t, <-waited)
	crowded.stored()
	for _, q := range []*lineQueue{crowded, alone} {
		q.end(errors.New("over"))
		q.leave()
		q.forget()
	}
	require.True(t, shared.TryAcquire(100), "all of it was given back")
}
