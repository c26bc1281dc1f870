package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// A sender that stood still for longer than the ack wait finds its timers due
// when it goes on. Its first sign of life must not bring back a copy that the
// server may have given to another by then.
func TestAHeartbeatBringsNoExpiredDeliveryBack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newPipeline(t)
	config := w.consumer().Config
	config.AckWait = 2 * time.Second
	_, err := w.js.UpdateConsumer(ctx, w.topology.DeliveriesStream(), config)
	require.NoError(t, err)
	queue, err := deliveries.OpenReceiver(ctx, w.js, message.DefaultDestination)
	require.NoError(t, err)
	w.emit(events.OriginTick, w.claimed(draft())[0])
	var held *deliveries.Delivery
	require.NoError(t, queue.Fetch(ctx, 1, func(c *deliveries.Delivery) { held = c }))
	require.NoError(t, queue.KeepAlive(ctx, []*deliveries.Delivery{held}))
	require.False(t, held.HoldExpired())
	testenv.Eventually(t, held.HoldExpired)

	require.NoError(t, queue.KeepAlive(ctx, []*deliveries.Delivery{held}))

	require.True(t, held.HoldExpired())
}

// What a server writes down of a delivery is when its message was stored. One
// that was killed would so deliver again at once what waited on the queue for
// longer than the ack wait, though somebody is working on it. A sign of life
// is written down as it is.
func TestAKilledServerDoesNotTakeADeliveryFromItsHolder(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const ackWait = 12 * time.Second
	server := testenv.StartNATS(t, 1, nil)[0]
	top := events.NewTopology("dispatch", 1)
	js, err := jetstream.Connect(jetstream.Access{URL: server.URL}, top, "test")
	require.NoError(t, err)
	t.Cleanup(js.Conn().Close)
	testenv.Eventually(t, js.Conn().IsConnected)
	require.NoError(t, streams.Provision(ctx, js, []string{message.DefaultDestination}))
	consumer, err := js.Consumer(ctx, top.DeliveriesStream(), top.SenderConsumer(message.DefaultDestination))
	require.NoError(t, err)
	config := consumer.CachedInfo().Config
	config.AckWait = ackWait
	_, err = js.UpdateConsumer(ctx, top.DeliveriesStream(), config)
	require.NoError(t, err)
	queue, err := deliveries.OpenReceiver(ctx, js, message.DefaultDestination)
	require.NoError(t, err)
	m := draft()
	m.ClaimNumber = 1
	delivery := events.NewEventBuilder(top, false).Delivery(events.OriginTick, m)
	require.NoError(t, jetstream.NewPublisher(js).Publish(ctx, []events.OutboxMessage{delivery}))
	<-time.After(ackWait + time.Second)

	taken := 0
	take := func(*deliveries.Delivery) { taken++ }
	require.NoError(t, queue.Fetch(ctx, 1, take))
	require.Equal(t, 1, taken)
	<-time.After(500 * time.Millisecond) // it writes every 100 ms
	server.Kill()
	server.Start()
	testenv.Eventually(t, js.Conn().IsConnected)

	began := time.Now()
	for time.Since(began) < 3*time.Second { // it looks after 1.5 s at the latest
		_ = queue.Fetch(ctx, 1, take) // nothing, or an error
	}
	require.Equal(t, 1, taken, "it was taken from its holder")
}
