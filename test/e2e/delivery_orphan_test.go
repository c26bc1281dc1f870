package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// A NATS server that goes down at the wrong moment may hold copies that it
// takes for acknowledged. Nobody is given them, so a dispatcher takes them
// away; what was not done is brought back by its lease.
func TestADeliveryThatNoSenderGetsIsTakenOffTheQueue(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "LEASE", "2s")
	dispatcher := w.runDispatcher()
	sender := w.runSender()
	done := w.insert(draft())[0]
	m := w.awaitStatus(done, message.Sent)
	sender.stop()
	waits := w.insert(draft())[0]
	w.awaitStatus(waits, message.Queued)
	dispatcher.stop()

	m.ClaimNumber++
	require.NoError(t, jetstream.NewPublisher(w.js).Publish(t.Context(), events.NewEventBuilder(w.topology, false).Claims(events.OriginTick, []message.Message{m})[:1]))
	stream, err := w.js.Stream(t.Context(), w.topology.DeliveriesStream())
	require.NoError(t, err)
	state := stream.CachedInfo().State
	require.EqualValues(t, 2, state.Msgs)
	_, err = w.js.ResetConsumerToSequence(t.Context(), w.topology.DeliveriesStream(), w.topology.SenderConsumer(message.DefaultDestination), state.LastSeq+1)
	require.NoError(t, err)

	w.runDispatcher()
	w.runSender()
	w.requireAllSent([]message.ID{done, waits})
	w.requireNothingLeft()
}
