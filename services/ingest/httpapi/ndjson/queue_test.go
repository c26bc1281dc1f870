package ndjson

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"
)

func TestWaitingLinesShareTheMemoryOfBodies(t *testing.T) {
	t.Parallel()
	shared := semaphore.NewWeighted(100)
	one := func() Line { return Line{Data: make([]byte, 100-lineOverhead)} }
	crowded, alone := NewQueue(shared), NewQueue(shared)
	require.True(t, crowded.Put(one()))
	require.False(t, shared.TryAcquire(1), "all of it is acquired")
	require.True(t, alone.Put(one()), "a first line never waits")

	waited := make(chan bool)
	go func() { waited <- crowded.Put(one()) }()
	lines, err := crowded.Take()
	require.NoError(t, err)
	require.NotEmpty(t, lines)
	require.True(t, <-waited)
	crowded.Stored()
	for _, q := range []*Queue{crowded, alone} {
		q.End(errors.New("over"))
		q.StopReading()
		q.Clear()
	}
	require.True(t, shared.TryAcquire(100), "all of it is released")
}
