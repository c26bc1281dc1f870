package e2e_test

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// The helpers below drive the store and the streams as a dispatcher would.

func (w *pipeline) tick(lease time.Duration, lost ...db.ExpiredLease) []message.Message {
	w.t.Helper()
	var claimed []message.Message
	testenv.Eventually(w.t, func() bool {
		tick, err := w.store.Tick(w.t.Context(), db.TickParams{
			Destination: message.DefaultDestination, Limit: 100, Lease: lease, Reclaim: lost, BatchSize: db.DefaultBatchSize,
			EncodeOutbox: func(db.Claim) []byte { return events.EncodeOutbox(nil) },
		})
		require.NoError(w.t, err)
		if tick.OutboxID != 0 {
			require.NoError(w.t, w.store.FinishClaim(w.t.Context(), tick.OutboxID, tick.Size()))
		}
		claimed = tick.Messages()
		return len(claimed) > 0
	}, "nothing to claim")
	return claimed
}

// claimed stores messages and claims them, without emitting their ids.
func (w *pipeline) claimed(messages ...message.Message) []message.Message {
	w.t.Helper()
	w.insert(messages...)
	claimed := w.tick(time.Hour)
	require.Len(w.t, claimed, len(messages))
	return claimed
}

// emit publishes a delivery, as if the duplicate window were over, and whatever
// is on its subject.
func (w *pipeline) emit(origin string, m message.Message) {
	w.t.Helper()
	copied := events.NewEventBuilder(w.topology, false).Delivery(origin, m)
	copied.MsgID += "." + message.NewID(time.Now()).String()
	delete(copied.Headers, natsjs.ExpectedLastSubjSeqHeader)
	w.publish(copied)
}

func (w *pipeline) publish(entries ...events.OutboxMessage) {
	w.t.Helper()
	require.NoError(w.t, jetstream.NewPublisher(w.js).Publish(w.t.Context(), entries))
}

// publishOutcome puts an event into EVENTS that the recorder has yet to pass:
// it is of a kind that may tell of an outcome.
func (w *pipeline) publishOutcome(m message.Message) {
	w.t.Helper()
	m.Status = message.Failed
	w.publish(events.NewEventBuilder(w.topology, false).Transitions(message.EventFailed, []message.Message{m})...)
}

func (w *pipeline) consumer() *natsjs.ConsumerInfo {
	w.t.Helper()
	consumer, err := w.js.Consumer(w.t.Context(), w.topology.DeliveriesStream(), w.topology.SenderConsumer(message.DefaultDestination))
	require.NoError(w.t, err)
	return consumer.CachedInfo()
}

func (w *pipeline) awaitAckPending(n int) {
	w.t.Helper()
	testenv.Eventually(w.t, func() bool { return w.consumer().NumAckPending == n })
}

func (w *pipeline) awaitDeliveries(n int) {
	w.t.Helper()
	awaitCount(w.t, n, func() int { return int(w.deliveries().State.Msgs) })
}

// awaitCount waits until a count is n, for as long as it changes: how fast it
// does is the machine's affair.
func awaitCount(t testing.TB, n int, count func() int) {
	t.Helper()
	last := count()
	for changed := time.Now(); last != n; {
		require.Less(t, time.Since(changed), waitTimeout, "%d of %d", last, n)
		<-time.After(5 * time.Millisecond)
		if now := count(); now != last {
			last, changed = now, time.Now()
		}
	}
}

// awaitOn waits for a message on a subject of DELIVERIES.
func (w *pipeline) awaitOn(subject string) *natsjs.RawStreamMsg {
	w.t.Helper()
	return w.awaitIn(w.topology.DeliveriesStream(), subject)
}

// awaitIn waits for a message on a subject of a stream.
func (w *pipeline) awaitIn(name, subject string) *natsjs.RawStreamMsg {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), name)
	require.NoError(w.t, err)
	var msg *natsjs.RawStreamMsg
	testenv.Eventually(w.t, func() bool {
		msg, err = stream.GetLastMsgForSubject(w.t.Context(), subject)
		return err == nil
	})
	return msg
}

// awaitSenders waits until n senders ask for ids.
func (w *pipeline) awaitSenders(n int) {
	w.t.Helper()
	testenv.Eventually(w.t, func() bool { return w.consumer().NumWaiting >= n })
}

func (w *pipeline) awaitCalls(id message.ID, n int) {
	w.t.Helper()
	testenv.Eventually(w.t, func() bool { return len(w.webhook.received(id.String())) == n })
}

// held returns a channel that is closed by release, or at the test's end, so
// that a test that fails does not wait for its own webhook.
func held(t *testing.T) (answer <-chan struct{}, release func()) {
	t.Helper()
	held := make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	return held, release
}

func failing(times int) func(int, call, http.ResponseWriter, *http.Request) {
	return func(n int, _ call, rw http.ResponseWriter, _ *http.Request) {
		if n <= times {
			rw.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(rw, "not now")
		}
	}
}

func numbers(calls []call) []string {
	list := make([]string, len(calls))
	for i, c := range calls {
		list[i] = c.Attempt
	}
	return list
}

// viaProxy puts a proxy in front of the server of a setting.
func (w *pipeline) viaProxy(setting string) *testenv.Proxy {
	w.t.Helper()
	return testenv.NewProxy(w.t, setting, w.env[setting])
}
