package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// A shortWait is an ack wait that a test can wait for. A request of
// briefTimeout fits into it.
const (
	shortWait    = 4 * time.Second
	briefTimeout = "300ms"
)

// setAckWait is the ack wait of the senders' consumer from now on.
func (w *pipeline) setAckWait(wait time.Duration) {
	w.t.Helper()
	config := w.consumer().Config
	config.AckWait = wait
	_, err := w.js.UpdateConsumer(w.t.Context(), w.topology.DeliveriesStream(), config)
	require.NoError(w.t, err)
}

func (w *pipeline) openQueue() *deliveries.Receiver {
	w.t.Helper()
	queue, err := deliveries.OpenReceiver(w.t.Context(), w.js, message.DefaultDestination)
	require.NoError(w.t, err)
	return queue
}

// hold waits for the next copy and takes it.
func (w *pipeline) hold(queue *deliveries.Receiver) *deliveries.Delivery {
	w.t.Helper()
	var held *deliveries.Delivery
	testenv.Eventually(w.t, func() bool {
		_ = queue.Fetch(w.t.Context(), 1, func(c *deliveries.Delivery) { held = c })
		return held != nil
	})
	return held
}

// emitOne stores a message, claims it and emits its id.
func (w *pipeline) emitOne() message.Message {
	w.t.Helper()
	m := w.claimed(draft())[0]
	w.emit(events.OriginTick, m)
	return m
}

// parkedLater is a message's retry under its next claim, in an hour.
func parkedLater(w *pipeline, m message.Message) events.OutboxMessage {
	next := time.Now().Add(time.Hour)
	m.ClaimNumber++
	m.NextAttemptAt = &next
	return events.NewEventBuilder(w.topology, false).ScheduledRetry(m)
}

// A schedule brings a copy that replaces what is on the queue. So only whoever
// holds the delivery may publish it, and the server itself refuses one that
// the network has delayed.
func TestOnlyTheHolderOfADeliveryParksItsRetry(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	ctx, queue := t.Context(), w.openQueue()

	t.Run("it is held", func(t *testing.T) {
		m := w.emitOne()
		held := w.hold(queue)
		for range 2 { // the first acknowledgement may be lost
			require.NoError(t, queue.ScheduleRetry(ctx, held, parkedLater(w, m)))
		}
		require.Equal(t, "2", w.awaitOn(w.topology.RetrySubject(m.Destination, m.ID)).Header.Get(events.HeaderClaim))
		require.NoError(t, held.DoubleAck(ctx))
	})
	requireRefused := func(t *testing.T, m message.Message, held *deliveries.Delivery) {
		t.Helper()
		require.ErrorIs(t, queue.ScheduleRetry(ctx, held, parkedLater(w, m)), deliveries.ErrNotHeld)
		stream, err := w.js.Stream(ctx, w.topology.DeliveriesStream())
		require.NoError(t, err)
		_, err = stream.GetLastMsgForSubject(ctx, w.topology.RetrySubject(m.Destination, m.ID))
		require.ErrorIs(t, err, natsjs.ErrMsgNotFound)
	}
	t.Run("a newer one has replaced it", func(t *testing.T) {
		m := w.emitOne()
		held := w.hold(queue)
		w.emit(events.OriginReclaim, m)
		requireRefused(t, m, held)
		require.NoError(t, w.hold(queue).DoubleAck(ctx))
	})
	t.Run("somebody has taken it off the queue", func(t *testing.T) {
		m := w.emitOne()
		held := w.hold(queue)
		require.NoError(t, held.DoubleAck(ctx))
		requireRefused(t, m, held)
	})
	t.Run("it has lapsed", func(t *testing.T) {
		w.setAckWait(time.Second)
		require.NoError(t, queue.Refresh(ctx))
		m := w.emitOne()
		held := w.hold(queue)
		testenv.Eventually(t, held.HoldExpired)
		requireRefused(t, m, held)
	})
}

// What a holder does after its hold may be over must not touch the delivery of
// the one that has it by then.
func TestADeliveryIsEndedByItsHolderAlone(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.setAckWait(time.Second)
	ctx, queue := t.Context(), w.openQueue()
	naks := w.naks()
	ends := []func(*deliveries.Delivery) error{
		func(c *deliveries.Delivery) error { return c.Ack() },
		func(c *deliveries.Delivery) error { return c.DoubleAck(ctx) },
		func(c *deliveries.Delivery) error { return c.Nak(0) },
		func(c *deliveries.Delivery) error { return c.Nak(time.Millisecond) },
	}
	first := make([]*deliveries.Delivery, len(ends))
	for i := range first {
		w.emitOne()
		first[i] = w.hold(queue)
	}
	for i, end := range ends {
		testenv.Eventually(t, first[i].HoldExpired)
		require.NoError(t, end(first[i]))
	}
	require.NoError(t, queue.Flush(ctx))

	require.EqualValues(t, len(ends), w.deliveries().State.Msgs, "they are the next holder's")
	require.Empty(t, naks())
}

// naks returns what lists the naks that the server has had since.
func (w *pipeline) naks() func() []uint64 {
	w.t.Helper()
	heard, err := w.js.Conn().SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED." + w.topology.DeliveriesStream() + ".>")
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = heard.Unsubscribe() })
	return func() []uint64 {
		var list []uint64
		for {
			msg, err := heard.NextMsg(100 * time.Millisecond)
			if err != nil {
				return list
			}
			var nak struct {
				Sequence uint64 `json:"stream_seq"`
			}
			require.NoError(w.t, json.Unmarshal(msg.Data, &nak))
			list = append(list, nak.Sequence)
		}
	}
}

// The server has no guard against a nak that the network delays: one that
// arrives when another sender has the delivery takes it away. So none is sent
// when the hold is nearly over; the server delivers the copy soon by itself.
func TestNoNakIsSentWhenTheHoldIsNearlyOver(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.setAckWait(6 * time.Second)
	queue := w.openQueue()
	naks := w.naks()
	w.emitOne()
	early := w.hold(queue)
	require.NoError(t, early.Nak(time.Hour))
	require.Len(t, naks(), 1)

	w.emitOne()
	late := w.hold(queue)
	testenv.Eventually(t, func() bool { return !late.Outlasts(2 * time.Second) })
	require.NoError(t, late.Nak(time.Hour))
	require.NoError(t, queue.Flush(t.Context()))
	require.Empty(t, naks())
}

// A sender that was cut off while it attempted tells the outcome when it is
// back, however late. The retry is not its own to park by then: the sender that has
// the delivery may be in the middle of a request, and the schedule would
// add another delivery next to it.
func TestASenderThatWasCutOffLeavesItsRetryToTheNextHolder(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "WEBHOOK_TIMEOUT", briefTimeout, "RETRY_BASE", "1h", "RETRY_MAX", "1h")
	w.setAckWait(shortWait)
	nats := w.viaProxy("NATS_URL")
	w.webhook.respondWith(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) {
		nats.Cut()
		rw.WriteHeader(http.StatusServiceUnavailable)
	})
	sender := w.runSender("NATS_URL", nats.URL)
	w.awaitSenders(1)
	m := w.emitOne()
	w.awaitCalls(m.ID, 1)
	other := w.hold(w.openQueue())
	require.Equal(t, 2, other.DeliveryCount)

	nats.Heal()
	w.awaitIn(w.topology.EventsStream(), w.topology.EventSubject(message.EventAttempted, m.Destination))
	sender.stop()

	require.Zero(t, w.parked(), "no schedule")
	require.EqualValues(t, 1, w.deliveries().State.Msgs, "the delivery")
}

// While NATS does not hear that a copy is worked on, it may give it to another
// sender before a request has ended. None begins then.
func TestARequestBeginsOnlyIfTheHoldOutlastsIt(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const (
		ackWait = 15 * time.Second
		longest = 12 * time.Second // WEBHOOK_TIMEOUT, and 2 s for the body
	)
	w := newPipeline(t, "WEBHOOK_TIMEOUT", "10s")
	w.setAckWait(ackWait)
	nats := w.viaProxy("NATS_URL")
	w.runSender("NATS_URL", nats.URL)
	w.awaitSenders(1)
	m := w.claimed(draft())[0]
	rows, err := pgx.Connect(ctx, clientURL(t, w.env["DATABASE_URL"]))
	require.NoError(t, err)
	t.Cleanup(func() { _ = rows.Close(context.WithoutCancel(ctx)) })
	locked, err := rows.Begin(ctx)
	require.NoError(t, err)
	_, err = locked.Exec(ctx, "LOCK TABLE messages")
	require.NoError(t, err)
	w.emit(events.OriginTick, m)
	w.awaitAckPending(1)
	nats.Cut()
	<-time.After(ackWait - longest) // no sign of life reaches the server any more

	require.NoError(t, locked.Rollback(ctx)) // now the sender has the row
	require.Never(t, func() bool { return len(w.webhook.received("")) > 0 }, time.Second, 10*time.Millisecond)
	nats.Heal()
	w.awaitCalls(m.ID, 1)
}

// A consumer that an older release, or somebody by hand, has given too short
// an ack wait could have a delivery go to two senders. The sender says so and
// begins nothing, until provision has set it right.
func TestASenderBeginsNothingWhileTheAckWaitIsTooShortForARequest(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runDispatcher()
	w.setAckWait(5 * time.Second)
	address := freeAddr(t)
	w.runSender("WEBHOOK_TIMEOUT", "5s", "HEALTH_ADDR", address)
	testenv.Eventually(t, func() bool {
		response, err := http.Get("http://" + address + "/health/ready")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusServiceUnavailable
	})
	m := w.emitOne()
	require.Empty(t, w.webhook.received(""))

	w.provision()

	w.awaitStatus(m.ID, message.Sent)
}

// Running senders go by what the server says. A change of WEBHOOK_TIMEOUT
// changes nothing there: the senders that go on with the old one hold what
// they have.
func TestProvisioningWithAnotherTimeoutChangesNoAckWait(t *testing.T) {
	t.Parallel()
	w := newUnprovisioned(t)
	for _, timeout := range []string{"60s", "1s"} {
		w.env["WEBHOOK_TIMEOUT"] = timeout
		w.provisionOnly()
		require.Equal(t, events.SenderAckWait, w.consumer().Config.AckWait)
	}
	w.setAckWait(time.Hour)
	queue := w.openQueue()
	require.Equal(t, events.SenderAckWait, queue.AckWait(), "what an older release has set is about to be shortened")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, queue.Refresh(ctx))
	require.Equal(t, events.SenderAckWait, queue.AckWait())
}
