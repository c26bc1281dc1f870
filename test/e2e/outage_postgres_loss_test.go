package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// What a message's row was before its claim, and before its outcome.
const (
	beforeItsClaim = `UPDATE messages SET status = 'PENDING', claim_number = 0, version = 1, attempts = 0, claims_without_outcome = 0, last_error = NULL,
		queued_at = NULL, sent_at = NULL, external_id = NULL, next_attempt_at = NULL, lease_until = NULL WHERE id = $1`
	beforeItsOutcome = `UPDATE messages SET status = 'QUEUED', claim_number = 1, version = 2, attempts = 0, claims_without_outcome = 1, last_error = NULL,
		sent_at = NULL, external_id = NULL, next_attempt_at = NULL, lease_until = clock_timestamp() + interval '2 seconds' WHERE id = $1`
)

// putBack is a server that took over without its predecessor's last commits,
// which a dispatcher has noticed some seconds ago.
func (w *pipeline) putBack(id message.ID, to string) {
	w.t.Helper()
	w.sql("DELETE FROM attempts WHERE message_id = $1", id)
	w.sql(to, id)
	w.sql("UPDATE schedule SET trusted_timeline = NULL, commits_lost_at = clock_timestamp() - interval '10 seconds', fast_path_lease = NULL")
}

// awaitTrusted waits until a repair is finished.
func (w *pipeline) awaitTrusted() {
	w.t.Helper()
	testenv.Eventually(w.t, func() bool {
		timeline, err := w.store.Timeline(w.t.Context())
		return err == nil && timeline.Trusted
	}, "nobody repairs what Postgres has lost")
}

// awaitNoted waits until Postgres says that outcomes are recorded up to an
// event, or a later one.
func (w *pipeline) awaitNoted(event uint64) {
	w.t.Helper()
	testenv.Eventually(w.t, func() bool {
		noted, err := w.store.RecorderProgress(w.t.Context())
		return err == nil && noted.LastSequence >= event
	})
}

func (w *pipeline) lastEvent() uint64 {
	w.t.Helper()
	last, err := jetstream.NewRecorderProgress(w.js).LastEvent(w.t.Context())
	require.NoError(w.t, err)
	return last
}

// held is a webhook that answers when it is released.
func (w *pipeline) held() (release func()) {
	free := make(chan struct{})
	w.webhook.respondWith(func(_ int, _ call, out http.ResponseWriter, r *http.Request) {
		select {
		case <-free:
		case <-r.Context().Done():
		}
		out.WriteHeader(http.StatusAccepted)
	})
	return func() { close(free) }
}

// TestOutcomesThatPostgresHasLostAreNotSentAgain puts rows back behind the
// dispatcher's back: the server and its timeline are the same as before.
func TestOutcomesThatPostgresHasLostAreNotSentAgain(t *testing.T) {
	t.Parallel()
	t.Run("with the note that says how far it was", func(t *testing.T) {
		t.Parallel()
		w := newPipeline(t)
		w.wire.ignore()
		api := w.runAll()
		w.awaitStatus(api.post(t, hello), message.Sent)
		w.awaitRecorded()
		earlier := w.lastEvent()
		w.awaitNoted(earlier)
		id := api.post(t, hello)
		w.awaitStatus(id, message.Sent)
		w.awaitRecorded()
		w.awaitNoted(earlier + 1)

		w.sql("DELETE FROM attempts WHERE message_id = $1", id)
		w.sql(beforeItsOutcome, id)
		w.sql("UPDATE recorder_progress SET last_sequence = least(last_sequence, $1), complete_sequence = least(complete_sequence, $1)", int64(earlier))

		m := w.awaitStatus(id, message.Sent)
		require.Equal(t, 1, m.Attempts)
		attempts, err := w.store.Attempts(t.Context(), id)
		require.NoError(t, err)
		require.Len(t, attempts, 1)
		w.awaitTrusted()
		w.awaitStatus(api.post(t, hello), message.Sent)
		require.Len(t, w.webhook.received(id.String()), 1)
	})
	t.Run("and nothing tells but their lease", func(t *testing.T) {
		t.Parallel()
		w := newPipeline(t, "LEASE", "2s")
		w.wire.ignore()
		api := w.runAll()
		id := api.post(t, hello)
		w.awaitStatus(id, message.Sent)

		w.sql("DELETE FROM attempts WHERE message_id = $1", id)
		w.sql(beforeItsOutcome, id)

		w.awaitStatus(id, message.Sent)
		require.Len(t, w.webhook.received(id.String()), 1)
		w.awaitTrusted()
	})
}

func TestAClaimThatPostgresHasLostIsNotGivenOutAgain(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "WEBHOOK_TIMEOUT", "30s", "SHUTDOWN_TIMEOUT", "40s")
	w.wire.ignore()
	api := w.runAll()
	w.runDispatcher()
	release := w.held()
	id := api.post(t, hello)
	w.awaitCalls(id, 1)

	w.putBack(id, beforeItsClaim)

	m := w.awaitStatus(id, message.Queued)
	require.EqualValues(t, 1, m.ClaimNumber, "that of the copy which is in flight")
	w.awaitTrusted()
	w.awaitCalls(api.post(t, hello), 1)
	release()
	require.EqualValues(t, 1, w.awaitStatus(id, message.Sent).ClaimNumber)
	require.Len(t, w.webhook.received(id.String()), 1)
	w.requireNothingLeft()
}

func TestClaimNumbersGoOnAboveAllThatMayBeLost(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "PROCESSING_INTERVAL", "1s")
	w.wire.ignore()
	w.putBack(message.ID{}, beforeItsClaim)
	w.runDispatcher()
	w.runSender()
	began := time.Now().Add(-time.Minute)

	m := w.awaitStatus(w.insert(draft())[0], message.Sent)

	require.Greater(t, m.ClaimNumber, began.UnixMilli())
}

// TestARetryThatPostgresHasLostIsMadeWhenItIsDue: what is told of a row that
// went back to before its claim counts all the same.
func TestARetryThatPostgresHasLostIsMadeWhenItIsDue(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "RETRY_BASE", "1h")
	w.wire.ignore()
	w.webhook.respondWith(func(_ int, _ call, out http.ResponseWriter, _ *http.Request) {
		out.WriteHeader(http.StatusServiceUnavailable)
	})
	api := w.runAll()
	id := api.post(t, hello)
	before := w.awaitStatus(id, message.Retrying)
	w.awaitRecorded()

	w.putBack(id, beforeItsClaim)
	w.awaitTrusted()

	after := w.awaitStatus(id, message.Retrying)
	require.Equal(t, before.ClaimNumber, after.ClaimNumber)
	require.Equal(t, 1, after.Attempts)
	require.Equal(t, before.NextAttemptAt, after.NextAttemptAt)
	require.Len(t, w.webhook.received(id.String()), 1)
}

func TestACancelThatPostgresHasLostIsMadeAgain(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.wire.ignore()
	api := w.runAll()
	later := draft(func(m *message.Message) { m.DeliverAt = time.Now().Add(time.Hour) })
	back := draft(func(m *message.Message) { m.DeliverAt = time.Now().Add(time.Hour) })
	w.insert(later, back)
	for _, id := range []message.ID{later.ID, back.ID} {
		status, _, answer := api.request(t, http.MethodPost, "/api/v1/messages/"+id.String()+"/cancel", "")
		require.Equal(t, http.StatusOK, status, "%s", answer)
	}
	testenv.Eventually(t, func() bool { return len(w.eventsOf(message.EventCancelled, later.ID, back.ID)) == 2 })
	// Cancelled, brought back and emitted: the cancel is history.
	brought := back
	brought.Status, brought.Version = message.Queued, 4
	w.publish(events.NewEventBuilder(w.topology, false).Transitions(message.EventQueued, []message.Message{brought})...)

	w.putBack(back.ID, beforeItsClaim)
	w.putBack(later.ID, beforeItsClaim)
	w.awaitTrusted()

	require.EqualValues(t, 2, w.awaitStatus(later.ID, message.Cancelled).Version)
	m, err := w.store.Get(t.Context(), back.ID)
	require.NoError(t, err)
	require.Equal(t, message.Pending, m.Status)
}

// TestATickThatPostgresHasLostCountsInThePace puts the schedule back to before
// the tick.
func TestATickThatPostgresHasLostCountsInThePace(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "PROCESSING_INTERVAL", "1h", "BATCH_SIZE", "1")
	w.wire.ignore()
	first := w.insert(draft(func(m *message.Message) { m.Priority = 9 }))[0]
	second := w.insert(draft())[0]
	w.runDispatcher()
	w.runSender()
	w.awaitStatus(first, message.Sent)
	var began, next time.Time
	require.NoError(t, w.query("SELECT last_tick_at FROM schedule").Scan(&began))

	w.sql("UPDATE schedule SET next_tick_at = clock_timestamp() - interval '1 minute', last_tick_at = NULL, last_batch_size = 0, trusted_timeline = 'another', commits_lost_at = NULL")
	w.sql("UPDATE schedule SET trusted_timeline = NULL, commits_lost_at = clock_timestamp() - interval '10 seconds'")
	w.awaitTrusted()

	require.NoError(t, w.query("SELECT next_tick_at FROM schedule").Scan(&next))
	require.WithinDuration(t, began.Add(time.Hour), next, 30*time.Second)
	m, err := w.store.Get(t.Context(), second)
	require.NoError(t, err)
	require.Equal(t, message.Pending, m.Status)
}

// TestNothingIsEmittedOnAnotherTimeline has no dispatcher that could repair.
func TestNothingIsEmittedOnAnotherTimeline(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.wire.ignore()
	stopped := w.runDispatcher()
	api := w.runIngest()
	w.awaitArrivals(api)
	stopped.stop()
	w.sql("UPDATE schedule SET trusted_timeline = '1/00000001'")

	id := api.post(t, hello)
	tick, err := w.store.Tick(t.Context(), db.TickParams{
		Destination: message.DefaultDestination, Limit: 100, Lease: time.Minute, BatchSize: db.DefaultBatchSize,
		EncodeOutbox: func(db.Claim) []byte { return events.EncodeOutbox(nil) },
	})
	require.NoError(t, err)
	require.False(t, tick.Ran, "no tick runs")
	require.Equal(t, message.Pending, api.get(t, id).Status, "nothing is emitted as it arrives")
	w.sql("UPDATE outbox SET created_at = now() - interval '1 hour'")
	w.sql("INSERT INTO outbox (batch, created_at) VALUES ($1, now() - interval '1 hour')", events.EncodeOutbox(nil))
	relayed, err := w.store.Relay(t.Context(), db.RelayParams{Age: time.Second, MaxRetryAfter: time.Minute, Limit: 10}, nil)
	require.NoError(t, err)
	require.Zero(t, relayed.Rows, "nothing is relayed")
}

func TestRedisIsExactAgainAfterPostgresHasLostCommits(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.wire.ignore()
	client := w.withRedis()
	api := w.runAll()
	kept, gone := api.post(t, hello), api.post(t, hello)
	w.awaitStatus(kept, message.Sent)
	w.awaitStatus(gone, message.Sent)
	w.awaitCopy(client, kept, gone)
	w.sql("UPDATE messages SET version = 2 WHERE id = $1", kept)
	w.sql("DELETE FROM attempts WHERE message_id = $1", gone)

	w.putBack(gone, "DELETE FROM messages WHERE id = $1")
	w.awaitTrusted()

	w.awaitCopy(client, kept)
	testenv.Eventually(t, func() bool {
		return client.Exists(t.Context(), "dispatch:message:"+gone.String()).Val() == 0
	})
}

// TestHealthReportsLostCommits has one dispatcher hold the repair that the
// other one tells of.
func TestHealthReportsLostCommits(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.sql(`UPDATE schedule SET trusted_timeline = NULL, commits_lost_at = clock_timestamp(), repairer = gen_random_uuid(),
		repair_lease_until = clock_timestamp() + interval '14 seconds'`)
	addr := freeAddr(t)
	w.runDispatcher("HEALTH_ADDR", addr)
	api := &runningService{url: "http://" + addr}

	testenv.Eventually(t, func() bool {
		response, err := http.Get(api.url + "/health/ready")
		if err != nil {
			return false
		}
		response.Body.Close()
		_, _, body := api.request(t, http.MethodGet, "/health/ready", "")
		return response.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(body), "Postgres has lost commits")
	})
	w.sql("UPDATE schedule SET repair_lease_until = NULL, commits_lost_at = clock_timestamp() - interval '10 seconds'")
	w.awaitTrusted()
	testenv.Eventually(t, func() bool {
		status, _, _ := api.request(t, http.MethodGet, "/health/ready", "")
		return status == http.StatusOK
	})
}

// TestEventsAreFoundByTheServersClock: where a consumer begins once more is
// counted from the server's time, which a dispatcher's clock does not enter.
func TestEventsAreFoundByTheServersClock(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.wire.ignore()
	builder := events.NewEventBuilder(w.topology, false)
	for range 3 {
		w.publish(builder.Transitions(message.EventCreated, []message.Message{draft()})...)
	}
	stream, err := w.js.Stream(t.Context(), w.topology.EventsStream())
	require.NoError(t, err)
	second, err := stream.GetMsg(t.Context(), 2)
	require.NoError(t, err)
	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	for span, want := range map[time.Duration]uint64{time.Hour: 1, info.TimeStamp.Sub(second.Time) + time.Hour: 1, -time.Hour: 4} {
		first, err := streams.FirstSince(t.Context(), w.js, w.topology.EventsStream(), span)
		require.NoError(t, err)
		require.Equal(t, want, first, "stored within the last %s", span)
	}
}
