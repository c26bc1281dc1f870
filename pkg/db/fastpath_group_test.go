package db_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// full is a message with everything that one without an idempotency key can
// have.
func full(m *message.Message) {
	later := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	m.Content, m.Payload = "", []byte(`{"a":1}`)
	m.Type, m.Priority, m.ExpiresAt = "invoice.paid", 9, &later
	m.Metadata = map[string]string{"order": "7"}
	m.Trace = message.Trace{Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", State: "a=1"}
}

// TestBothRoadsLeaveTheSame compares messages that arrive in one round trip
// with those that need two, since they have a key.
func TestBothRoadsLeaveTheSame(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	claim(t, store, 1)
	arrive(t, store) // the first takes two round trips
	for name, edit := range map[string]func(*message.Message){"content": func(*message.Message) {}, "everything": full} {
		one, oneOutbox := arrive(t, store, edit)
		two, twoOutbox := arrive(t, store, edit, func(m *message.Message) { m.IdempotencyKey = "key-" + name })
		require.Equal(t, message.Queued, one.Status, name)
		require.Equal(t, claimOf(t, pool, two.ID), claimOf(t, pool, one.ID), name)

		var same bool
		require.NoError(t, pool.QueryRow(t.Context(), `
			SELECT (SELECT (is_claim, fast_path) FROM outbox WHERE id = $1) = (SELECT (is_claim, fast_path) FROM outbox WHERE id = $2)`,
			oneOutbox, twoOutbox).Scan(&same))
		require.True(t, same, name)

		stored := get(t, store, one.ID)
		require.Equal(t, stored, one, "what is told is what is stored: %s", name)
		other := get(t, store, two.ID)
		other.ID, other.CreatedAt, other.UpdatedAt, other.DeliverAt = stored.ID, stored.CreatedAt, stored.UpdatedAt, stored.DeliverAt
		other.QueuedAt, other.IdempotencyKey, other.Scope = stored.QueuedAt, "", stored.Scope
		require.Equal(t, stored, other, name)
	}
	var filters int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM message_filters").Scan(&filters))
	require.Equal(t, 5, filters)
	overview, err := store.Overview(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 5, overview.Counts[message.Queued])
}

// TestAnIdThatIsThereAlreadyIsStoredOnce, as after a commit whose answer was
// lost.
func TestAnIdThatIsThereAlreadyIsStoredOnce(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	claim(t, store, 1)
	first, _ := arrive(t, store)
	again, fresh := draft(), draft()
	again.ID = first.ID

	results, outboxID, err := store.InsertFastPath(t.Context(), time.Now(), []message.Message{again, fresh}, box)

	require.NoError(t, err)
	require.NotZero(t, outboxID)
	require.False(t, results[0].Created)
	require.Equal(t, first, results[0].Message)
	require.True(t, results[1].Created)
	require.Equal(t, message.Queued, results[1].Message.Status)
	claims, err := store.UnpublishedClaims(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, claims, 2)
}

// TestACallerWhoseClockIsWrongIsToldTheTime: the times of a message are
// Postgres', whatever the caller takes for them.
func TestACallerWhoseClockIsWrongIsToldTheTime(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	claim(t, store, 1)
	arrive(t, store)
	began := time.Now()
	results, _, err := store.InsertFastPath(t.Context(), began, drafts(1), box)
	require.NoError(t, err)
	require.WithinDuration(t, began, results[0].Message.UpdatedAt, time.Microsecond, "one that is right is believed")
	for _, wrong := range []time.Duration{-time.Hour, -2 * time.Second, 2 * time.Second, time.Hour} {
		began := time.Now()
		results, _, err := store.InsertFastPath(t.Context(), began.Add(wrong), drafts(1), box)
		require.NoError(t, err)
		m := results[0].Message
		require.Equal(t, message.Queued, m.Status, "%s", wrong)
		require.WithinRange(t, m.UpdatedAt, began.Add(-time.Millisecond), time.Now().Add(time.Millisecond), "%s", wrong)
		require.Equal(t, m, get(t, store, m.ID))
	}
}

// TestAChangeOfThePaceWaitsForWhatArrives in one round trip, which is held up
// here by somebody who inserts the same id.
func TestAChangeOfThePaceWaitsForWhatArrives(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	claim(t, store, 1)
	arrive(t, store)
	m := draft()
	other, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = other.Rollback(context.Background()) }()
	_, err = other.Exec(t.Context(), `INSERT INTO messages (id, created_at, updated_at, deliver_at, destination, recipient, content)
		VALUES ($1, now(), now(), now(), 'default', 'x', 'x')`, m.ID)
	require.NoError(t, err)

	arrived := make(chan message.Message, 1)
	go func() {
		defer close(arrived)
		results, _, err := store.InsertFastPath(context.Background(), time.Now(), []message.Message{m}, box)
		if err != nil {
			t.Error(err)
			return
		}
		arrived <- results[0].Message
	}()
	awaitLock(t, pool, "transactionid")
	stopped := make(chan error, 1)
	go func() { _, err := store.SetRunning(context.Background(), false); stopped <- err }()
	awaitLock(t, pool, "advisory")
	require.NoError(t, other.Rollback(t.Context()))

	require.Equal(t, message.Queued, (<-arrived).Status)
	require.NoError(t, <-stopped)
	after, _ := arrive(t, store)
	require.Equal(t, message.Pending, after.Status)
}

// awaitLock waits until somebody in the test's database waits for a lock of a
// kind.
func awaitLock(t *testing.T, pool *pgxpool.Pool, kind string) {
	t.Helper()
	require.Eventually(t, func() bool {
		var waiting bool
		err := pool.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = $1`, kind).Scan(&waiting)
		return err == nil && waiting
	}, 10*time.Second, 5*time.Millisecond)
}
