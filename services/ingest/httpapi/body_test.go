package httpapi

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"

	"github.com/message-dispatcher/dispatch/services/ingest/accept"
)

func TestLargeBodiesShareALimit(t *testing.T) {
	t.Parallel()
	shared := semaphore.NewWeighted(100)
	first := &countingReader{from: strings.NewReader(strings.Repeat("x", uncounted+80)), limit: shared}
	_, err := io.ReadAll(first)
	require.NoError(t, err)
	require.EqualValues(t, 80, first.acquired)

	second := &countingReader{from: strings.NewReader(strings.Repeat("x", uncounted+80)), limit: shared}
	_, err = io.ReadAll(second)
	require.ErrorIs(t, err, accept.ErrOverloaded)
	small := &countingReader{from: strings.NewReader(strings.Repeat("x", uncounted)), limit: shared}
	_, err = io.ReadAll(small)
	require.NoError(t, err, "a usual message is not counted")
	shared.Release(first.acquired + second.acquired)
	require.True(t, shared.TryAcquire(100), "all of it is released")
}
