package e2e_test

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// begin opens a transaction of the test's own, which is rolled back at the end.
func (w *pipeline) begin() pgx.Tx {
	w.t.Helper()
	pool, err := dbpool.Open(w.t.Context(), w.env["DATABASE_URL"], dbpool.Options{Name: "test transaction", MaxConns: 1})
	require.NoError(w.t, err)
	w.t.Cleanup(pool.Close)
	tx, err := pool.Begin(w.t.Context())
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = tx.Rollback(w.t.Context()) })
	return tx
}

// eraseBeside erases while the test goes on. An answer other than 200 is an
// erasure of nothing.
func eraseBeside(t *testing.T, ingest *runningService, query string) <-chan erasure {
	t.Helper()
	done := make(chan erasure, 1)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, ingest.url+"/api/v1/messages?"+query, http.NoBody)
	require.NoError(t, err)
	go func() {
		var answer erasure
		if response, err := http.DefaultClient.Do(request); err == nil {
			defer response.Body.Close()
			_ = json.NewDecoder(response.Body).Decode(&answer)
		}
		done <- answer
	}()
	return done
}

// TestIntakeInFlightIsErasedOnceItIsStored: an ingest has fetched an entry and
// can't store it yet when the erasure looks through the stream.
func TestIntakeInFlightIsErasedOnceItIsStored(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	ingest := w.runIngest()
	other := w.begin() // holds the entry's idempotency key
	_, err := other.Exec(t.Context(), `INSERT INTO messages (id, created_at, updated_at, deliver_at, destination, recipient, content, idempotency_scope, idempotency_key)
		VALUES ($1, now(), now(), now(), 'default', '+905551111111', 'x', 'nats:dispatch', 'theirs')`, message.NewID(time.Now()))
	require.NoError(t, err)
	_, err = w.js.Publish(t.Context(), w.topology.IntakeSubject("default"), []byte(`{"to":"+905552222222","content":"hello"}`), natsjs.WithMsgID("theirs"))
	require.NoError(t, err)
	testenv.Eventually(t, func() (waits bool) {
		return w.query(`SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waits) == nil && waits
	}, "nobody stores it")

	looks := make(chan *nats.Msg, 100) // at what the intake's consumer has in hand
	_, err = w.js.Conn().ChanSubscribe("$JS.API.CONSUMER.INFO."+w.topology.IntakeStream()+"."+events.IntakeConsumer, looks)
	require.NoError(t, err)
	require.NoError(t, w.js.Conn().Flush())
	done := eraseBeside(t, ingest, "to=%2B905552222222")
	for range 5 { // more than health asks for
		select {
		case <-looks:
		case <-done:
			require.FailNow(t, "the erasure was answered while an ingest had an entry in hand")
		}
	}
	require.Len(t, w.contents(w.topology.IntakeStream()), 1, "it is still to be stored")
	require.NoError(t, other.Rollback(t.Context()))
	erased := <-done

	require.False(t, erased.More)
	require.Zero(t, erased.Intake)
	require.Equal(t, 1, erased.Erased)
	var left int
	require.NoError(t, w.query(`SELECT count(*) FROM messages WHERE recipient = '+905552222222'`).Scan(&left))
	require.Zero(t, left)
}

// TestAnEventThatIsJustBeingRelayedIsErasedToo if its relay gives up: the
// erasure waits for the outbox row.
func TestAnEventThatIsJustBeingRelayedIsErasedToo(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	ingest := w.runIngest()
	theirs := draft(func(m *message.Message) { m.To = "+905552222222" })
	batch := events.EncodeOutbox(events.NewEventBuilder(w.topology, false).Transitions(message.EventCreated, []message.Message{theirs, draft()}))
	w.sql(`INSERT INTO outbox (batch, created_at) SELECT $1::bytea, '2001-01-01' FROM generate_series(1, 2)`, batch)
	relay := w.begin()
	_, err := relay.Exec(t.Context(), `SELECT FROM outbox ORDER BY id LIMIT 1 FOR UPDATE`)
	require.NoError(t, err)

	done := eraseBeside(t, ingest, "to=%2B905552222222")
	testenv.Eventually(t, func() (waits bool) {
		return w.query(`SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waits) == nil && waits
	}, "the erasure does not wait for the row")
	require.NoError(t, relay.Rollback(t.Context()))

	require.Equal(t, 2, (<-done).Unpublished)
	for _, id := range []int{1, 2} {
		var left []byte
		require.NoError(t, w.query(`SELECT batch FROM outbox ORDER BY id LIMIT 1 OFFSET $1`, id-1).Scan(&left))
		entries, err := events.DecodeOutbox(left)
		require.NoError(t, err)
		require.Len(t, entries, 2, "the other's event, and the note")
	}
}

// TestWhatWasFinalIsForgottenByTheCopierToo: the copier may have read a state
// before its row was erased, and put it into Redis after that. A note tells it
// to look again.
func TestWhatWasFinalIsForgottenByTheCopierToo(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	redis := w.withRedis()
	ingest := w.runAll()
	id := ingest.post(t, `{"to":"+905552222222","content":"hello"}`)
	w.awaitStatus(id, message.Sent)
	w.awaitCopy(redis, id)
	stream, err := w.js.Stream(t.Context(), w.topology.ChangesStream())
	require.NoError(t, err)
	_, err = stream.PauseConsumer(t.Context(), events.CacheConsumer, time.Now().Add(time.Hour))
	require.NoError(t, err)

	require.Equal(t, 1, erase(t, ingest, "to=%2B905552222222").Erased)
	require.NoError(t, redis.HSet(t.Context(), "dispatch:message:"+id.String(), "status", "SENT", "externalId", "who", "version", 9).Err())
	_, err = stream.PauseConsumer(t.Context(), events.CacheConsumer, time.Now().Add(20*time.Millisecond))
	require.NoError(t, err)

	testenv.Eventually(t, func() bool {
		held, err := redis.Exists(t.Context(), "dispatch:message:"+id.String()).Result()
		return err == nil && held == 0
	}, "Redis still shows it")
}

// TestTheAnswerToAnErasureCoversEventsThatFollowIt: a request is in flight when
// its message is erased, and its event comes after the answer.
func TestTheAnswerToAnErasureCoversEventsThatFollowIt(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	goOn := sync.OnceFunc(func() { close(release) })
	t.Cleanup(goOn)
	w.webhook.respondWith(func(_ int, _ call, rw http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		rw.WriteHeader(http.StatusAccepted)
	})
	ingest := w.runAll()
	id := ingest.post(t, `{"to":"+905552222222","content":"hello"}`)
	<-arrived

	done := erase(t, ingest, "to=%2B905552222222")
	goOn()

	testenv.Eventually(t, func() bool { return len(w.eventsOf(message.EventSent, id)) == 1 })
	stream, err := w.js.Stream(t.Context(), w.topology.EventsStream())
	require.NoError(t, err)
	last, err := stream.GetLastMsgForSubject(t.Context(), w.topology.EventSubject(message.EventSent, "default"))
	require.NoError(t, err)
	require.Contains(t, string(last.Data), "905552222222")
	require.True(t, last.Time.Add(events.EventsMaxAge).Before(done.EventsUntil), "it stays until %s, the answer says %s", last.Time.Add(events.EventsMaxAge), done.EventsUntil)
}
