package e2e_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// How late a tick is depends on the machine; that it is not left out shows by
// what each of them took: there is enough for all. That nobody sleeps past one
// is tested in services/dispatcher/schedule.
func TestThreeDispatchersTogetherKeepThePaceExactly(t *testing.T) {
	t.Parallel()
	const (
		interval = time.Second
		batch    = 2
		count    = 10
	)
	w := newPipeline(t, "PROCESSING_INTERVAL", interval.String())
	w.insert(drafts(count)...)
	w.sql(`CREATE TABLE ticks (n bigserial, batch int);
		CREATE FUNCTION note_tick() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN INSERT INTO ticks (batch) VALUES (NEW.last_batch_size); RETURN NULL; END';
		CREATE TRIGGER note_tick AFTER UPDATE OF last_tick_at ON schedule FOR EACH ROW EXECUTE FUNCTION note_tick()`)
	for range 3 {
		w.runDispatcher()
	}

	w.awaitDeliveries(count)

	emitted := w.emitted()
	for i := batch; i < count; i++ {
		apart := emitted[i].Time.Sub(emitted[i-batch].Time)
		require.GreaterOrEqual(t, apart, interval, "emissions %d and %d", i-batch, i)
	}
	for _, msg := range emitted {
		require.Equal(t, events.OriginTick, msg.Header.Get(events.HeaderOrigin))
		require.Equal(t, "1", msg.Header.Get(events.HeaderClaim))
	}
	var least int
	require.NoError(t, w.query("SELECT min(batch) FROM (SELECT batch FROM ticks ORDER BY n LIMIT $1) AS first", count/batch).Scan(&least))
	require.Equal(t, batch, least, "a tick took less than there was")
}

func TestATickThatIsTooFarAwayIsPulledBack(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "PROCESSING_INTERVAL", "500ms")
	w.sql("UPDATE schedule SET next_tick_at = now() + interval '1 day'") // as a clock that was set back makes it
	w.insert(drafts(2)...)
	w.runDispatcher()
	w.awaitDeliveries(2)
}

func TestADispatcherStopsAlthoughEverythingIsAway(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "SHUTDOWN_TIMEOUT", "75s") // as it is by default
	w.withRedis()
	postgres, redis := w.viaProxy("DATABASE_URL"), w.viaProxy("REDIS_URL")
	running := w.runDispatcher("DATABASE_URL", postgres.URL, "REDIS_URL", redis.URL)
	w.awaitControl()
	postgres.Cut()
	redis.Cut()
	w.stopNATS()
	running.stop()
}

func TestTheContinuousModeIsBoundedByWhatIsQueued(t *testing.T) {
	t.Parallel()
	const bound, more = 10_000, 700
	w := newPipeline(t, "WEBHOOK_TIMEOUT", "1m", "SHUTDOWN_TIMEOUT", "2m") // however slow the machine is
	for range (bound + more) / 100 {
		w.insert(drafts(100)...)
	}
	w.runDispatcher()
	w.runDispatcher()
	w.awaitDeliveries(bound)
	require.Never(t, func() bool { return w.deliveries().State.Msgs > bound }, moment, 10*time.Millisecond)

	w.runSender()
	awaitCount(t, bound+more, func() int {
		overview, err := w.store.Overview(t.Context())
		require.NoError(t, err)
		return int(overview.Counts[message.Sent])
	})
	require.Empty(t, w.webhook.repeated())
}

func TestTheContinuousModeIsOnTime(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.runDispatcher()
	w.runSender()
	first := w.insert(draft())[0]
	w.awaitStatus(first, message.Sent)

	due := time.Now().Add(1500 * time.Millisecond)
	ahead := w.insert(draft(func(m *message.Message) { m.DeliverAt = due }))[0]
	m := w.awaitStatus(ahead, message.Sent)
	require.False(t, m.QueuedAt.Before(due))

	failed := w.insert(draft())[0]
	w.awaitStatus(failed, message.Sent)
	w.sql("UPDATE messages SET status = 'FAILED' WHERE id = $1", failed)
	_, err := w.store.Redrive(t.Context(), failed, nil)
	require.NoError(t, err)
	w.awaitStatus(failed, message.Sent) // no event tells of a retry
}

func TestALostIDIsEmittedAgainAtThePaceAndOneOnItsWayIsNot(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	w := newPipeline(t, "PROCESSING_INTERVAL", interval.String(), "BATCH_SIZE", "1", "LEASE", "1s")
	ids := w.insert(drafts(3)...)
	w.runDispatcher()
	w.awaitDeliveries(3)
	stream, err := w.js.Stream(t.Context(), w.topology.DeliveriesStream())
	require.NoError(t, err)
	for _, id := range ids[:2] {
		require.NoError(t, stream.Purge(t.Context(), natsjs.WithPurgeSubject(w.topology.DeliverSubject(message.DefaultDestination, id))))
	}
	fresh := w.insert(drafts(2)...)

	w.awaitDeliveries(5)

	emitted := w.emitted()
	var origins []string
	for i, msg := range emitted[1:] { // the first is the one that was not lost
		origins = append(origins, msg.Header.Get(events.HeaderOrigin))
		require.GreaterOrEqual(t, msg.Time.Sub(emitted[i].Time), interval)
	}
	require.Equal(t, w.topology.DeliverSubject(message.DefaultDestination, ids[2]), emitted[0].Subject)
	slices.Sort(origins)
	require.Equal(t, []string{events.OriginReclaim, events.OriginReclaim, events.OriginTick, events.OriginTick}, origins)
	for _, id := range ids[:2] {
		require.Equal(t, "3", w.awaitOn(w.topology.DeliverSubject(message.DefaultDestination, id)).Header.Get(events.HeaderClaim))
	}
	for _, id := range append(fresh, ids[2]) {
		m, err := w.store.Get(t.Context(), id)
		require.NoError(t, err)
		require.EqualValues(t, 1, m.ClaimNumber)
	}
}

func TestAParkedMessageIsNotLost(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "LEASE", "1s", "RETRY_BASE", "1h", "RETRY_MAX", "1h")
	w.webhook.respondWith(failing(1))
	w.runDispatcher()
	w.runSender()
	id := w.insert(draft())[0]
	parked := w.awaitStatus(id, message.Retrying)
	w.awaitOn(w.topology.RetrySubject(message.DefaultDestination, id))
	w.sql("UPDATE messages SET lease_until = now() - interval '1 minute'")

	testenv.Eventually(t, func() bool {
		lost, err := w.store.ExpiredLeases(t.Context(), db.ExpiredLease{}, 1)
		return err == nil && len(lost) == 0
	}, "its lease is renewed")
	m, err := w.store.Get(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, parked.ClaimNumber, m.ClaimNumber)
	require.Len(t, w.webhook.received(""), 1)
}

func TestTwentyClaimsWithoutAnOutcomeEndFailed(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "LEASE", "1s")
	m := w.claimed(draft())[0]
	w.sql("UPDATE messages SET claims_without_outcome = 20, lease_until = now()")

	w.runDispatcher()

	require.Equal(t, "no_outcome", w.awaitStatus(m.ID, message.Failed).LastError)
	told := w.events(m.ID, 1)
	require.Equal(t, []message.EventType{message.EventFailed}, kinds(told))
	require.EqualValues(t, 0, w.deliveries().State.LastSeq)
}

func TestExpiryEventsAreKeptWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "PROCESSING_INTERVAL", "1h")
	w.runDispatcher()
	testenv.Eventually(t, func() bool { // the first tick is over
		pace, err := w.store.Pace(t.Context())
		return err == nil && pace.Wait > 0
	})
	w.stopNATS()
	soon := time.Now().Add(300 * time.Millisecond)
	id := w.insert(draft(func(m *message.Message) { m.ExpiresAt = &soon }))[0]

	w.awaitStatus(id, message.Expired)
	w.startNATS()

	require.ElementsMatch(t, []message.EventType{message.EventCreated, message.EventExpired}, kinds(w.events(id, 2)))
}

// sql changes the database behind everybody's back.
// one is the number that a statement returns; -1 for no row.
func (w *pipeline) one(statement string) int {
	w.t.Helper()
	pool, err := dbpool.Open(w.t.Context(), w.env["DATABASE_URL"], dbpool.Options{Name: "test sql", MaxConns: 1})
	require.NoError(w.t, err)
	defer pool.Close()
	n := -1
	if err := pool.QueryRow(w.t.Context(), statement).Scan(&n); !errors.Is(err, pgx.ErrNoRows) {
		require.NoError(w.t, err)
	}
	return n
}

func (w *pipeline) sql(statement string, args ...any) {
	w.t.Helper()
	pool, err := dbpool.Open(w.t.Context(), w.env["DATABASE_URL"], dbpool.Options{Name: "test sql", MaxConns: 1})
	require.NoError(w.t, err)
	defer pool.Close()
	_, err = pool.Exec(w.t.Context(), statement, args...)
	require.NoError(w.t, err)
}
