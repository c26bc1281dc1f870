package pipeline_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// A sender that stood still for longer than the ack wait finds its timers due
// when it goes on. Its first sign of life must not bring back a copy that the
// server may have given to another by then.
func TestASignOfLifeBringsNoLapsedCopyBack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	config := w.consumer().Config
	config.AckWait = 2 * time.Second
	_, err := w.js.UpdateConsumer(ctx, w.top.DeliveriesStream(), config)
	require.NoError(t, err)
	queue, err := events.OpenQueue(ctx, w.js, w.top, message.DefaultDestination)
	require.NoError(t, err)
	w.emit(events.OriginTick, w.claimed(draft())[0])
	var held *events.Copy
	require.NoError(t, queue.Fetch(ctx, 1, func(c *events.Copy) { held = c }))
	require.NoError(t, queue.Keep(ctx, []*events.Copy{held}))
	require.False(t, held.Lapsed())
	require.Eventually(t, held.Lapsed, patience, time.Millisecond)

	require.NoError(t, queue.Keep(ctx, []*events.Copy{held}))

	require.True(t, held.Lapsed())
}
