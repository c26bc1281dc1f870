package pipeline_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// moment is how long a test watches for something that must not happen.
const moment = 700 * time.Millisecond

func TestADoubtfulCopyWaitsForTheRecorderAndAFreshOneDoesNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	early := w.claimed(draft())[0]
	w.emit(events.OriginTick, early) // stored before the sender came: a server that was killed forgets what it delivered
	w.tellSomething(early)
	w.runSender()
	w.awaitSenders(1)
	late := w.claimed(draft(), draft())
	w.emit(events.OriginRelay, late[0])
	w.emit(events.OriginTick, late[1])

	w.awaitCalls(late[1].ID, 1)
	require.Never(t, func() bool { return len(w.webhook.received("")) > 1 }, moment, 10*time.Millisecond)

	w.runDispatcher()
	for _, m := range []message.Message{early, late[0], late[1]} {
		require.Equal(t, 1, w.await(m.ID, message.Sent).Attempts)
	}
	require.Empty(t, w.webhook.repeated())
	w.requireNothingLeft()
}

func TestCopiesThatDoNotCountAreDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insert(draft())
	older := w.tick(time.Nanosecond)[0] // its lease is over at once
	newer := w.tick(time.Hour, db.Lost{ID: older.ID, Destination: older.Destination, Claim: older.Claim})[0]
	require.Equal(t, older.ID, newer.ID)
	require.Equal(t, older.Claim+1, newer.Claim)
	w.runDispatcher()
	w.runSender()
	w.awaitSenders(1)

	w.emit(events.OriginTick, older)
	w.emit(events.OriginRelay, older)
	w.awaitDeliveries(0)
	require.Empty(t, w.webhook.received(""))

	w.emit(events.OriginReclaim, newer)
	sent := w.await(newer.ID, message.Sent)
	require.Equal(t, 1, sent.Attempts)

	w.emit(events.OriginRelay, sent)
	w.awaitDeliveries(0)
	require.Len(t, w.webhook.received(""), 1)
}

func TestASecondCopyWaitsForTheFirstInTheSameHands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runDispatcher()
	w.runSender()
	arrived := make(chan struct{})
	answer, release := held(t)
	w.webhook.answers(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-answer
		rw.WriteHeader(http.StatusOK)
	})
	id := w.insert(draft())[0]
	<-arrived
	m, err := w.store.Get(t.Context(), id)
	require.NoError(t, err)
	w.emit(events.OriginRelay, m)

	require.Never(t, func() bool { return len(w.webhook.received("")) > 1 }, moment, 10*time.Millisecond)
	release()
	require.Equal(t, 1, w.await(id, message.Sent).Attempts)
	w.requireNothingLeft()
	require.Len(t, w.webhook.received(""), 1)
}

func TestAShortWaitIsANakUnderTheSameClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runDispatcher()
	w.runSender()
	w.webhook.answers(failing(2))
	id := w.insert(draft())[0]

	m := w.await(id, message.Sent)
	require.Equal(t, 3, m.Attempts)
	require.EqualValues(t, 1, m.Claim)
	require.Equal(t, "status 503", m.LastError)
	require.Nil(t, m.NextAttemptAt)
	calls := w.webhook.received(id.String())
	require.Equal(t, []string{"1", "2", "3"}, numbers(calls))
	attempts, err := w.store.Attempts(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, attempts, 3)
	require.Equal(t, message.OutcomeRetry, attempts[0].Outcome)
	require.Equal(t, http.StatusServiceUnavailable, attempts[0].HTTPStatus)
	require.Equal(t, "not now", attempts[0].Response)
	w.requireNothingLeft()
}

func TestALongWaitIsAScheduleUnderTheNextClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runDispatcher()
	w.runSender()
	w.webhook.answers(func(n int, _ call, rw http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			rw.Header().Set("Retry-After", "11")
			rw.WriteHeader(http.StatusTooManyRequests)
		}
	})
	id := w.insert(draft())[0]

	m := w.await(id, message.Retrying)
	require.EqualValues(t, 2, m.Claim, "parking raises the claim")
	parked := w.awaitOn(w.top.Park(message.DefaultDestination, id))
	require.Equal(t, "@at "+m.NextAttemptAt.UTC().Format(time.RFC3339Nano), parked.Header.Get(jetstream.ScheduleHeader))
	require.Equal(t, "2", parked.Header.Get(events.HeaderClaim))
	require.Equal(t, events.OriginRetry, parked.Header.Get(events.HeaderOrigin))
	w.awaitDeliveries(1) // the schedule alone

	m = w.await(id, message.Sent)
	require.EqualValues(t, 2, m.Claim)
	require.Equal(t, 2, m.Attempts)
	calls := w.webhook.received(id.String())
	require.Equal(t, []string{"1", "2"}, numbers(calls))
	wait := calls[1].At.Sub(calls[0].At)
	require.GreaterOrEqual(t, wait, 11*time.Second)
	require.Less(t, wait, 15*time.Second)
	w.requireNothingLeft()
}

func TestAWebhookThatClosesConnectionsGetsEachAttemptOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MAX_RETRIES", "3", "RETRY_FACTOR", "1")
	w.runDispatcher()
	w.runSender()
	w.webhook.answers(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	})
	id := w.insert(draft())[0]

	m := w.await(id, message.Failed)
	require.Equal(t, "connection closed without an answer", m.LastError)
	require.Equal(t, []string{"1", "2", "3", "4"}, numbers(w.webhook.received(id.String())))
	w.requireNothingLeft()
}

func TestARetryAfterTheExpiryEndsNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runDispatcher()
	w.runSender()
	w.webhook.answers(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", "3600")
		rw.WriteHeader(http.StatusServiceUnavailable)
	})
	expires := time.Now().Add(20 * time.Second)
	id := w.insert(draft(func(m *message.Message) { m.ExpiresAt = &expires }))[0]

	m := w.await(id, message.Expired)
	require.Equal(t, 1, m.Attempts)
	require.Equal(t, "status 503", m.LastError)
	attempts, err := w.store.Attempts(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, message.OutcomeExpired, attempts[0].Outcome)
	w.requireNothingLeft()
}

func TestADrainFinishesWhatIsInFlightAndGivesTheRestBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runDispatcher()
	first := w.runSender("SENDER_CONCURRENCY", "2")
	answer, release := held(t)
	w.webhook.answers(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) { <-answer; rw.WriteHeader(http.StatusOK) })
	ids := w.insert(drafts(10)...)
	require.Eventually(t, func() bool { return len(w.webhook.received("")) == 2 && w.consumer().NumAckPending == 4 },
		patience, 5*time.Millisecond, "two in flight and two in hand")

	stopped := make(chan struct{})
	go func() { first.stop(); close(stopped) }()
	began := time.Now()
	w.runSender()
	require.Eventually(t, func() bool { return len(w.webhook.received("")) == 10 }, patience, 5*time.Millisecond,
		"what was not begun is given back while the rest is in flight")
	require.Less(t, time.Since(began), 10*time.Second, "not only after the ack wait")
	release()
	<-stopped

	w.requireAllSent(ids)
	require.Empty(t, w.webhook.repeated())
	w.requireNothingLeft()
}

func TestAFinishedRequestOutlivesTheAbsenceOfNATS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runDispatcher()
	w.runSender("SENDER_CONCURRENCY", "4")
	answer, release := held(t)
	w.webhook.answers(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) { <-answer; rw.WriteHeader(http.StatusOK) })
	ids := w.insert(drafts(12)...)
	require.Eventually(t, func() bool { return len(w.webhook.received("")) == 4 }, patience, 5*time.Millisecond)

	w.stopNATS()
	release()
	require.Never(t, func() bool { return len(w.webhook.received("")) > 4 }, 3*time.Second, 10*time.Millisecond,
		"no new work while an outcome can't be told")
	w.startNATS()

	w.requireAllSent(ids)
	require.Empty(t, w.webhook.repeated())
	w.requireNothingLeft()
}

func TestIDsAreKeptWhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runDispatcher()
	postgres := w.behind("DATABASE_URL")
	w.runSender("DATABASE_URL", postgres.url)
	w.awaitSenders(1)
	w.await(w.insert(draft())[0], message.Sent)

	postgres.cut()
	ids := w.insert(drafts(3)...)
	w.awaitAckPending(3)
	w.runSender() // would get them after the ack wait of 15 s, were they not kept
	require.Never(t, func() bool { return len(w.webhook.received("")) > 1 }, 17*time.Second, 100*time.Millisecond)
	postgres.mend()

	w.requireAllSent(ids)
	require.Empty(t, w.webhook.repeated())
	w.requireNothingLeft()
}

// A sender that is cut off from NATS for longer than the ack wait loses what
// it holds to another one. Only what was in flight may be sent twice.
func TestWhatWaitsInTheHandsOfASenderThatIsCutOffIsSentOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runDispatcher()
	nats := w.behind("NATS_URL")
	w.runSender("NATS_URL", nats.url, "SENDER_CONCURRENCY", "1")
	w.awaitSenders(1)
	answer, release := held(t)
	w.webhook.answers(func(n int, _ call, rw http.ResponseWriter, _ *http.Request) {
		if n == 1 && len(w.webhook.received("")) == 1 {
			<-answer
		}
		rw.WriteHeader(http.StatusOK)
	})
	ids := w.insert(drafts(2)...)
	w.awaitAckPending(2)
	require.Eventually(t, func() bool { return len(w.webhook.received("")) == 1 }, patience, 5*time.Millisecond)
	flying := w.webhook.received("")[0].ID
	nats.cut()
	release()

	w.runSender()
	w.requireAllSent(ids)
	nats.mend()
	w.awaitSenders(2)
	w.requireNothingLeft()
	for _, id := range w.webhook.repeated() {
		require.Equal(t, flying, id)
	}
}

// The helpers below drive the store and the streams as a dispatcher would.

func (w *world) tick(lease time.Duration, lost ...db.Lost) []message.Message {
	w.t.Helper()
	var claimed []message.Message
	require.Eventually(w.t, func() bool {
		tick, err := w.store.Tick(w.t.Context(), db.TickParams{
			Destination: message.DefaultDestination, Limit: 1000, Lease: lease, Lost: lost, BatchSize: db.DefaultBatchSize,
			Box: func(db.Claim) []byte { return events.Encode(nil) },
		})
		require.NoError(w.t, err)
		if tick.OutboxID != 0 {
			require.NoError(w.t, w.store.FinishClaim(w.t.Context(), tick.OutboxID, tick.Size()))
		}
		claimed = tick.Messages()
		return len(claimed) > 0
	}, patience, 5*time.Millisecond, "nothing to claim")
	return claimed
}

// claimed stores messages and claims them, without emitting their ids.
func (w *world) claimed(messages ...message.Message) []message.Message {
	w.t.Helper()
	w.insert(messages...)
	claimed := w.tick(time.Hour)
	require.Len(w.t, claimed, len(messages))
	return claimed
}

// emit publishes a copy, as if the duplicate window were over.
func (w *world) emit(origin string, m message.Message) {
	w.t.Helper()
	copied := events.NewComposer(w.top, false).Delivery(origin, m)
	copied.MsgID += "." + message.NewID(time.Now()).String()
	w.publish(copied)
}

func (w *world) publish(entries ...events.Entry) {
	w.t.Helper()
	require.NoError(w.t, events.NewPublisher(w.js).Publish(w.t.Context(), entries))
}

// tellSomething puts an event into EVENTS that the recorder has yet to pass.
func (w *world) tellSomething(m message.Message) {
	w.t.Helper()
	w.publish(events.NewComposer(w.top, false).Moved(message.EventQueued, []message.Message{m})...)
}

func (w *world) consumer() *jetstream.ConsumerInfo {
	w.t.Helper()
	consumer, err := w.js.Consumer(w.t.Context(), w.top.DeliveriesStream(), w.top.SenderConsumer(message.DefaultDestination))
	require.NoError(w.t, err)
	return consumer.CachedInfo()
}

func (w *world) awaitAckPending(n int) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.consumer().NumAckPending == n }, patience, 5*time.Millisecond)
}

func (w *world) awaitDeliveries(n int) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.deliveries().State.Msgs == uint64(n) }, patience, 5*time.Millisecond)
}

// awaitOn waits for a message on a subject of DELIVERIES.
func (w *world) awaitOn(subject string) *jetstream.RawStreamMsg {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), w.top.DeliveriesStream())
	require.NoError(w.t, err)
	var msg *jetstream.RawStreamMsg
	require.Eventually(w.t, func() bool {
		msg, err = stream.GetLastMsgForSubject(w.t.Context(), subject)
		return err == nil
	}, patience, 5*time.Millisecond)
	return msg
}

// awaitSenders waits until so many senders ask for ids.
func (w *world) awaitSenders(n int) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.consumer().NumWaiting >= n }, patience, 5*time.Millisecond)
}

func (w *world) awaitCalls(id message.ID, n int) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return len(w.webhook.received(id.String())) == n }, patience, 5*time.Millisecond)
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

// link is a TCP connection's way to a server that can be cut: nothing is
// refused or closed then, it just does not arrive.
type link struct {
	url  string
	mu   sync.Mutex
	open chan struct{} // closed while the link works
}

// behind puts a link before the server of a setting.
func (w *world) behind(setting string) *link {
	w.t.Helper()
	target, err := url.Parse(w.env[setting])
	require.NoError(w.t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	l := &link{open: make(chan struct{})}
	close(l.open)
	w.t.Cleanup(func() { _ = listener.Close(); l.mend() })
	l.url = strings.Replace(w.env[setting], target.Host, listener.Addr().String(), 1)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target.Host)
			if err != nil {
				_ = client.Close()
				continue
			}
			go l.pass(client, server)
			go l.pass(server, client)
		}
	}()
	return l
}

func (l *link) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		open := l.open
		l.mu.Unlock()
		<-open
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}
