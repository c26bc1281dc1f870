package e2e_test

import (
	"net/http"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// moment is how long a test watches for something that must not happen.
const moment = 700 * time.Millisecond

func TestAnUnverifiedDeliveryWaitsForTheRecorderAndAFreshOneDoesNot(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	early := w.claimed(draft())[0]
	w.emit(events.OriginTick, early) // stored before the sender came: a server that was killed forgets what it delivered
	w.publishOutcome(early)
	w.runSender()
	w.awaitSenders(1)
	late := w.claimed(draft(), draft())
	w.emit(events.OriginRelay, late[0])
	w.emit(events.OriginTick, late[1])

	w.awaitCalls(late[1].ID, 1)
	require.Never(t, func() bool { return len(w.webhook.received("")) > 1 }, moment, 10*time.Millisecond)

	w.runDispatcher()
	for _, m := range []message.Message{early, late[0], late[1]} {
		require.Equal(t, 1, w.awaitStatus(m.ID, message.Sent).Attempts)
	}
	require.Empty(t, w.webhook.repeated())
	w.requireNothingLeft()
}

func TestDeliveriesThatDoNotCountAreDropped(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.insert(draft())
	older := w.tick(time.Nanosecond)[0] // its lease is over at once
	newer := w.tick(time.Hour, db.ExpiredLease{ID: older.ID, Destination: older.Destination, ClaimNumber: older.ClaimNumber})[0]
	require.Equal(t, older.ID, newer.ID)
	require.Greater(t, newer.ClaimNumber, older.ClaimNumber)
	w.runDispatcher()
	w.runSender()
	w.awaitSenders(1)

	w.emit(events.OriginTick, older)
	w.emit(events.OriginRelay, older)
	w.awaitDeliveries(0)
	require.Empty(t, w.webhook.received(""))

	w.emit(events.OriginReclaim, newer)
	sent := w.awaitStatus(newer.ID, message.Sent)
	require.Equal(t, 1, sent.Attempts)

	w.emit(events.OriginRelay, sent)
	w.awaitDeliveries(0)
	require.Len(t, w.webhook.received(""), 1)
}

func TestASecondDeliveryWaitsForTheFirstInTheSameSender(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runDispatcher()
	w.runSender()
	arrived := make(chan struct{})
	answer, release := held(t)
	w.webhook.respondWith(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) {
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
	require.Equal(t, 1, w.awaitStatus(id, message.Sent).Attempts)
	w.requireNothingLeft()
	require.Len(t, w.webhook.received(""), 1)
}

func TestAShortWaitIsANakUnderTheSameClaim(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runDispatcher()
	w.runSender()
	w.webhook.respondWith(failing(2))
	id := w.insert(draft())[0]

	m := w.awaitStatus(id, message.Sent)
	require.Equal(t, 3, m.Attempts)
	require.EqualValues(t, 1, m.ClaimNumber)
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
	w := newPipeline(t)
	w.runDispatcher()
	w.runSender()
	w.webhook.respondWith(func(n int, _ call, rw http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			rw.Header().Set("Retry-After", "11")
			rw.WriteHeader(http.StatusTooManyRequests)
		}
	})
	id := w.insert(draft())[0]

	m := w.awaitStatus(id, message.Retrying)
	require.EqualValues(t, 2, m.ClaimNumber, "parking raises the claim")
	parked := w.awaitOn(w.topology.RetrySubject(message.DefaultDestination, id))
	at, err := time.Parse("@at "+time.RFC3339Nano, parked.Header.Get(natsjs.ScheduleHeader))
	require.NoError(t, err)
	require.WithinDuration(t, *m.NextAttemptAt, at, 5*time.Second, "by NATS' clock what Postgres has by its own")
	require.Equal(t, "2", parked.Header.Get(events.HeaderClaim))
	require.Equal(t, events.OriginRetry, parked.Header.Get(events.HeaderOrigin))
	w.awaitDeliveries(1) // the schedule alone

	m = w.awaitStatus(id, message.Sent)
	require.EqualValues(t, 2, m.ClaimNumber)
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
	w := newPipeline(t, "MAX_RETRIES", "3", "RETRY_FACTOR", "1")
	w.runDispatcher()
	w.runSender()
	w.webhook.respondWith(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	})
	id := w.insert(draft())[0]

	m := w.awaitStatus(id, message.Failed)
	require.Equal(t, "connection closed without a response", m.LastError)
	require.Equal(t, []string{"1", "2", "3", "4"}, numbers(w.webhook.received(id.String())))
	w.requireNothingLeft()
}

func TestARetryAfterTheExpiryEndsNow(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runDispatcher()
	w.runSender()
	w.webhook.respondWith(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", "3600")
		rw.WriteHeader(http.StatusServiceUnavailable)
	})
	expires := time.Now().Add(20 * time.Second)
	id := w.insert(draft(func(m *message.Message) { m.ExpiresAt = &expires }))[0]

	m := w.awaitStatus(id, message.Expired)
	require.Equal(t, 1, m.Attempts)
	require.Equal(t, "status 503", m.LastError)
	attempts, err := w.store.Attempts(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, message.OutcomeExpired, attempts[0].Outcome)
	w.requireNothingLeft()
}

func TestADrainFinishesWhatIsInFlightAndGivesTheRestBack(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runDispatcher()
	first := w.runSender("SENDER_CONCURRENCY", "2")
	answer, release := held(t)
	w.webhook.respondWith(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) { <-answer; rw.WriteHeader(http.StatusOK) })
	ids := w.insert(drafts(10)...)
	testenv.Eventually(t, func() bool { return len(w.webhook.received("")) == 2 && w.consumer().NumAckPending == 4 }, "two in flight and two in hand")

	stopped := make(chan struct{})
	go func() { first.stop(); close(stopped) }()
	began := time.Now()
	w.runSender()
	testenv.Eventually(t, func() bool { return len(w.webhook.received("")) == 10 },
		"what was not begun is given back while the rest is in flight")
	require.Less(t, time.Since(began), 10*time.Second, "not only after the ack wait")
	release()
	<-stopped

	w.requireAllSent(ids)
	require.Empty(t, w.webhook.repeated())
	w.requireNothingLeft()
}
