package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// erasure is the answer of DELETE /api/v1/messages.
type erasure struct {
	DryRun                                                             bool
	Erased, Cancelled, Attempts, Cached, Unpublished, Intake, Rejected int
	EventsUntil                                                        time.Time
	More                                                               bool
}

func erase(t *testing.T, ingest *runningService, query string) (done erasure) {
	t.Helper()
	status, _, body := ingest.request(t, http.MethodDelete, "/api/v1/messages?"+query, "")
	require.Equal(t, http.StatusOK, status, "%s", body)
	require.NoError(t, json.Unmarshal(body, &done))
	return done
}

// TestARecipientIsErasedEverywhere leaves nothing of one in the database, in
// Redis, the outbox and the streams of intake and rejections, and everything
// of another.
func TestARecipientIsErasedEverywhere(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newPipeline(t, "RETRY_BASE", "1h", "RETRY_MAX", "1h")
	redis := w.withRedis()
	w.webhook.respondWith(func(_ int, c call, rw http.ResponseWriter, _ *http.Request) {
		if string(c.Body) == `{"to":"+905552222222","content":"park"}` {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if string(c.Body) == `{"to":"+905552222222","content":"hello"}` {
			_, _ = rw.Write([]byte(`{"messageId":"who +905552222222"}`))
		}
	})
	dispatcher := w.runDispatcher()
	sender := w.runSender()
	ingest := w.runIngest()
	const them, other = `"to":"+905552222222"`, `"to":"+905551111111"`
	sent := ingest.post(t, `{`+them+`,"content":"hello","idempotencyKey":"theirs"}`)
	parked := ingest.post(t, `{`+them+`,"content":"park"}`)
	later := ingest.post(t, `{`+them+`,"content":"later","deliverAt":"2090-01-01T00:00:00Z"}`)
	kept := ingest.post(t, `{`+other+`,"content":"hello","idempotencyKey":"mine"}`)
	w.awaitStatus(sent, message.Sent)
	w.awaitStatus(parked, message.Retrying)
	w.awaitStatus(kept, message.Sent)
	w.awaitCopy(redis, sent, parked, later, kept)
	testenv.Eventually(t, func() bool { return w.parked() == 1 })

	// What only the streams and the outbox hold.
	builder := events.NewEventBuilder(w.topology, true)
	for n, body := range []string{
		`{` + them + `,"content":""}`,
		`{"to":"+90 555 222 22 22" oh no +905552222222`,
		`{` + other + `,"content":""}`,
	} {
		w.publish(builder.Rejection(events.Rejection{
			Subject: w.topology.IntakeSubject(message.DefaultDestination), Sequence: uint64(n + 1), Stored: time.Now(), Data: []byte(body),
			Code: "malformed", Problem: json.RawMessage(`{"type":"urn:message-dispatcher:problem:malformed","title":"Bad Request","status":400,"code":"malformed"}`),
		}, 1<<20)...)
	}
	testenv.Eventually(t, func() (empty bool) { // what is published is deleted a moment later
		return w.query(`SELECT count(*) = 0 FROM outbox`).Scan(&empty) == nil && empty
	})
	dispatcher.stop() // it would relay what waits in the outbox
	waiting := draft(func(m *message.Message) { m.To = "+905552222222" })
	unpublished := events.EncodeOutbox(builder.Transitions(message.EventCreated, []message.Message{waiting, draft()}))
	w.sql("INSERT INTO outbox (batch, created_at) VALUES ($1, '2001-01-01')", unpublished)

	query := "to=" + url.QueryEscape("+90 (555) 222 22 22")
	look := erase(t, ingest, query+"&dryRun=true")
	require.True(t, look.DryRun)
	look.DryRun = false
	done := erase(t, ingest, query)

	require.WithinDuration(t, time.Now().Add(events.EventsMaxAge), done.EventsUntil, 15*time.Minute)
	require.Equal(t, 3, done.Cached)
	done.Cached = 0
	look.EventsUntil = done.EventsUntil
	require.Equal(t, done, look, "a dry run tells what is done")
	require.Equal(t, erasure{
		Erased: 3, Cancelled: 2, Attempts: 2, Unpublished: 1, Rejected: 2, EventsUntil: done.EventsUntil,
	}, done)

	for _, column := range []string{"recipient", "content", "external_id", "idempotency_key"} {
		var n int
		require.NoError(t, w.query(`SELECT count(*) FROM messages WHERE `+column+` ~ '5552222222|^later$|^park$|^theirs$'`).Scan(&n))
		require.Zero(t, n, column)
	}
	var filters int
	require.NoError(t, w.query(`SELECT count(*) FROM message_filters WHERE recipient ~ '5552222222'`).Scan(&filters))
	require.Zero(t, filters)
	for _, id := range []message.ID{sent, parked, later} {
		var attempts int
		require.NoError(t, w.query(`SELECT count(*) FROM attempts WHERE message_id = $1`, id).Scan(&attempts))
		require.Zero(t, attempts)
		status, _, _ := ingest.request(t, http.MethodGet, "/api/v1/messages/"+id.String(), "")
		require.Equal(t, http.StatusNotFound, status)
		held, err := redis.Exists(ctx, "dispatch:message:"+id.String()).Result()
		require.NoError(t, err)
		require.Zero(t, held)
	}
	testenv.Eventually(t, func() bool { return w.parked() == 0 }, "its schedule is purged")
	require.Equal(t, []string{`{` + other + `,"content":""}`}, w.contents(w.topology.RejectedStream()))
	var batch []byte
	require.NoError(t, w.query(`SELECT batch FROM outbox WHERE created_at = '2001-01-01'`).Scan(&batch))
	entries, err := events.DecodeOutbox(batch)
	require.NoError(t, err)
	require.Len(t, entries, 2, "the other's event still waits, and the note that both have changed")

	require.Equal(t, message.Sent, w.awaitStatus(kept, message.Sent).Status)
	overview, err := w.store.Overview(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 1, overview.Counts[message.Sent])
	require.Zero(t, overview.Counts[message.Pending]+overview.Counts[message.Retrying])
	again := erase(t, ingest, query)
	require.Equal(t, erasure{EventsUntil: again.EventsUntil}, again)

	// Events say that what was open has ended, and not whose it was.
	ends := w.eventsOf(message.EventCancelled, parked, later)
	require.Len(t, ends, 2)
	for _, end := range ends {
		require.NotContains(t, string(end), "5552222222")
	}
	sender.stop()
}

// TestWhatIsErasedIsNotSent erases ids that wait on the queue: the copies
// there are worth nothing, and leave nothing behind.
func TestWhatIsErasedIsNotSent(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runDispatcher()
	ingest := w.runIngest()
	var ids []message.ID
	for range 20 {
		ids = append(ids, ingest.post(t, `{"to":"+905552222222","content":"hello"}`))
	}
	for _, id := range ids {
		w.awaitStatus(id, message.Queued)
	}
	other := ingest.post(t, `{"to":"+905551111111","content":"hello"}`)

	done := erase(t, ingest, "to=%2B905552222222")
	require.Equal(t, len(ids), done.Erased)
	require.Equal(t, len(ids), done.Cancelled)
	w.runSender()
	w.awaitStatus(other, message.Sent)
	testenv.Eventually(t, func() bool { return len(w.contents(w.topology.DeliveriesStream())) == 0 })
	for _, id := range ids {
		require.Empty(t, w.webhook.received(id.String()))
	}
}

// TestARequestInFlightLeavesNothing: the outcome of a message that is erased
// while it is being sent is recorded nowhere.
func TestARequestInFlightLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	w.webhook.respondWith(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		_, _ = rw.Write([]byte(`{"messageId":"x-1"}`))
	})
	ingest := w.runAll()
	id := ingest.post(t, `{"to":"+905552222222","content":"hello"}`)
	<-arrived

	require.Equal(t, 1, erase(t, ingest, "to=%2B905552222222").Erased)
	close(release)

	// The outcome is published; once the recorder has passed it, nothing is there.
	testenv.Eventually(t, func() bool { return len(w.eventsOf(message.EventSent, id)) == 1 })
	progress := jetstream.NewRecorderProgress(w.js)
	last, err := progress.LastEvent(t.Context())
	require.NoError(t, err)
	require.NoError(t, progress.AwaitRecorded(t.Context(), last))
	var rows, attempts int
	require.NoError(t, w.query(`SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM attempts)`).Scan(&rows, &attempts))
	require.Zero(t, rows)
	require.Zero(t, attempts)
}

// TestIntakeIsErasedBeforeItIsStored erases what waits in the stream while
// nobody can store it.
func TestIntakeIsErasedBeforeItIsStored(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	ingest := w.runIngest()
	stream, err := w.js.Stream(t.Context(), w.topology.IntakeStream())
	require.NoError(t, err)
	_, err = stream.PauseConsumer(t.Context(), events.IntakeConsumer, time.Now().Add(time.Hour))
	require.NoError(t, err)
	for _, body := range []string{
		`{"to":"+90 555 222 22 22","content":"theirs"}`,
		`{"phoneNumber":"+905552222222","content":"theirs"}`,
		`{"to":"+905551111111","content":"about +905552222222"}`,
	} {
		_, err := w.js.Publish(t.Context(), w.topology.IntakeSubject(message.DefaultDestination), []byte(body))
		require.NoError(t, err)
	}

	require.Equal(t, 2, erase(t, ingest, "to=%2B905552222222&dryRun=true").Intake)
	require.Equal(t, 2, erase(t, ingest, "to=%2B905552222222").Intake)

	require.Equal(t, []string{`{"to":"+905551111111","content":"about +905552222222"}`}, w.contents(w.topology.IntakeStream()))
}

// contents is everything that a stream holds.
func (w *pipeline) contents(name string) []string {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), name)
	require.NoError(w.t, err)
	held := []string{}
	for sequence := uint64(1); ; sequence++ {
		msg, err := stream.GetMsg(w.t.Context(), sequence, natsjs.WithGetMsgSubject(">"))
		if err != nil {
			require.ErrorIs(w.t, err, natsjs.ErrMsgNotFound)
			return held
		}
		held, sequence = append(held, string(msg.Data)), msg.Sequence
	}
}

// eventsOf returns the events of a kind about messages.
func (w *pipeline) eventsOf(kind message.EventType, ids ...message.ID) [][]byte {
	w.t.Helper()
	var found [][]byte
	for _, text := range w.contents(w.topology.EventsStream()) {
		var event events.Event
		require.NoError(w.t, json.Unmarshal([]byte(text), &event))
		for _, id := range ids {
			if event.Data.ID == id && event.Type == "dispatch.message."+string(kind) {
				found = append(found, []byte(text))
			}
		}
	}
	return found
}

// query is sql that returns a row.
func (w *pipeline) query(statement string, args ...any) pgx.Row {
	w.t.Helper()
	pool, err := dbpool.Open(w.t.Context(), w.env["DATABASE_URL"], dbpool.Options{Name: "test query", MaxConns: 1})
	require.NoError(w.t, err)
	w.t.Cleanup(pool.Close)
	return pool.QueryRow(w.t.Context(), statement, args...)
}
