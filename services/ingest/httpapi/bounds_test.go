package httpapi

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"

	"github.com/message-dispatcher/dispatch/services/ingest/accept"
)

func TestLargeBodiesShareTheirRoom(t *testing.T) {
	t.Parallel()
	shared := semaphore.NewWeighted(100)
	first := &metered{from: strings.NewReader(strings.Repeat("x", smallEnough+80)), room: shared}
	_, err := io.ReadAll(first)
	require.NoError(t, err)
	require.EqualValues(t, 80, first.taken)

	second := &metered{from: strings.NewReader(strings.Repeat("x", smallEnough+80)), room: shared}
	_, err = io.ReadAll(second)
	require.ErrorIs(t, err, accept.ErrOverloaded)
	small := &metered{from: strings.NewReader(strings.Repeat("x", smallEnough)), room: shared}
	_, err = io.ReadAll(small)
	require.NoError(t, err, "a usual message needs no room")
	shared.Release(first.taken + second.taken)
	require.True(t, shared.TryAcquire(100), "all of it was given back")
}
