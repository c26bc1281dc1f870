package db_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

const month = 30 * 24 * time.Hour

// old stores a message as if it was created, and got into a state, so long
// ago, with an attempt.
func old(t *testing.T, store *db.Store, pool *pgxpool.Pool, status message.Status, created, moved time.Duration) message.ID {
	t.Helper()
	m := insert(t, store, func(m *message.Message) { m.ID = message.NewID(time.Now().Add(-created)) })
	exec(t, pool, `UPDATE messages SET status = $2, attempts = 1, updated_at = clock_timestamp() - $3::interval WHERE id = $1`, m.ID, status, moved)
	exec(t, pool, `INSERT INTO attempts VALUES ($1, 1, 1, 1, now(), 1, 200, 'success')`, m.ID)
	return m.ID
}

// retain walks once, in steps of two.
func retain(t *testing.T, store *db.Store) (messages, attempts int) {
	t.Helper()
	for d := (db.DeletedBatch{Seen: 2}); d.Seen == 2; {
		var err error
		d, err = store.DeletePastRetention(t.Context(), month, d.Last, 2)
		require.NoError(t, err)
		require.False(t, d.Busy)
		require.LessOrEqual(t, d.Messages, 2, "no step is larger")
		messages, attempts = messages+d.Messages, attempts+d.Attempts
	}
	return messages, attempts
}

func TestOnlyWhatIsFinalForLongEnoughIsDeleted(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, time.Hour)
	const day = 24 * time.Hour
	var kept, past []message.ID
	for _, status := range message.Statuses() {
		kept = append(kept, old(t, store, pool, status, 300*day, 29*day), old(t, store, pool, status, day, day))
		m := old(t, store, pool, status, 301*day, 31*day)
		if status.Final() {
			past = append(past, m)
		} else {
			kept = append(kept, m)
		}
	}

	messages, attempts := retain(t, store)

	require.Equal(t, len(past), messages)
	require.Equal(t, len(past), attempts)
	require.ElementsMatch(t, kept, remaining(t, pool, "SELECT id FROM messages"))
	require.ElementsMatch(t, kept, remaining(t, pool, "SELECT message_id FROM attempts"))
	for _, id := range past {
		_, err := store.Get(t.Context(), id)
		require.ErrorIs(t, err, db.ErrNotFound)
	}
	overview, err := store.Overview(t.Context())
	require.NoError(t, err)
	for _, status := range message.Statuses() {
		want := int64(2)
		if !status.Final() {
			want = 3
		}
		require.Equal(t, want, overview.Counts[status], status)
	}
	messages, _ = retain(t, store)
	require.Zero(t, messages)
}

func remaining(t *testing.T, pool *pgxpool.Pool, sql string) (ids []message.ID) {
	t.Helper()
	rows, err := pool.Query(t.Context(), sql)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var id message.ID
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	return ids
}

func TestARetriedMessageCountsFromItsNewEnd(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	id := old(t, store, pool, message.Failed, 100*24*time.Hour, 99*24*time.Hour)
	_, err := store.Redrive(t.Context(), id, nil)
	require.NoError(t, err)
	messages, _ := retain(t, store)
	require.Zero(t, messages, "it is pending")

	sent := claim(t, store, 1).Fresh[0]
	require.Equal(t, 1, record(t, store, outcome(sent, message.Succeed)))
	messages, _ = retain(t, store)
	require.Zero(t, messages, "it was sent just now")

	exec(t, pool, `UPDATE messages SET updated_at = updated_at - $1::interval`, month)
	messages, attempts := retain(t, store)
	require.Equal(t, 1, messages)
	require.Equal(t, 2, attempts)
}

func TestOneDispatcherAtATimeDeletes(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, time.Hour)
	old(t, store, pool, message.Sent, 2*month, 2*month)
	other, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = other.Exec(t.Context(), `SELECT pg_advisory_xact_lock(hashtext('dispatch.retention'))`)
	require.NoError(t, err)

	deleted, err := store.DeletePastRetention(t.Context(), month, message.ID{}, 10)
	require.NoError(t, err)
	require.Equal(t, db.DeletedBatch{Busy: true}, deleted)

	require.NoError(t, other.Rollback(t.Context()))
	deleted, err = store.DeletePastRetention(t.Context(), month, message.ID{}, 10)
	require.NoError(t, err)
	require.Equal(t, 1, deleted.Messages)
}

func TestDeletingPassesOverWhatIsBeingMoved(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, time.Hour)
	retried, sent := old(t, store, pool, message.Failed, 2*month, 2*month), old(t, store, pool, message.Sent, 2*month, 2*month)
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(t.Context()) }()
	_, err = tx.Exec(t.Context(), `UPDATE messages SET status = 'PENDING' WHERE id = $1`, retried)
	require.NoError(t, err)

	messages, _ := retain(t, store) // and does not wait
	require.Equal(t, 1, messages)
	_, err = store.Get(t.Context(), sent)
	require.ErrorIs(t, err, db.ErrNotFound)
	require.NoError(t, tx.Commit(t.Context()))
	messages, _ = retain(t, store)
	require.Zero(t, messages)
	require.Equal(t, message.Pending, get(t, store, retried).Status)
}

// TestALargeBacklogIsDeletedInSteps is about memory and locks: each step is a
// transaction of its own.
func TestALargeBacklogIsDeletedInSteps(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, time.Hour)
	const backlog, step = 20_000, 500
	exec(t, pool, `INSERT INTO messages (id, created_at, updated_at, deliver_at, status, destination, recipient, content)
		SELECT ('018' || lpad(to_hex(n), 9, '0') || '7000a0000000000000' || '00')::uuid, at, at, at,
			CASE WHEN n % 1000 = 0 THEN 'PENDING' ELSE 'SENT' END::message_status, 'default', '+905551111111', 'x'
		FROM generate_series(1, $1::int) AS n, (SELECT now() - interval '1 year' AS at) AS t`, backlog)
	exec(t, pool, `INSERT INTO attempts SELECT id, 1, 1, 1, now(), 1, 200, 'success' FROM messages`)
	steps, deleted := 0, 0
	for d := (db.DeletedBatch{Seen: step}); d.Seen == step; steps++ {
		var err error
		d, err = store.DeletePastRetention(t.Context(), month, d.Last, step)
		require.NoError(t, err)
		require.LessOrEqual(t, d.Messages, step)
		require.Equal(t, d.Messages, d.Attempts)
		deleted += d.Messages
	}
	require.Equal(t, backlog/step+1, steps)
	require.Equal(t, backlog-backlog/1000, deleted)
	require.Len(t, remaining(t, pool, "SELECT id FROM messages"), backlog/1000)
	require.Len(t, remaining(t, pool, "SELECT id FROM message_filters"), backlog/1000)
}

// TestDeletingIsAWalkAlongThePrimaryKey keeps the step from looking at the
// whole table.
func TestDeletingIsAWalkAlongThePrimaryKey(t *testing.T) {
	t.Parallel()
	pool := open(t, loaded(t, 20_000).Config().ConnString(), dbpool.Options{MaxConns: 1}) // the statistics are a connection's
	scanned := func() (messages, attempts int64) {
		exec(t, pool, `SELECT pg_stat_force_next_flush()`)
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT
			(SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'messages'),
			(SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'attempts')`).Scan(&messages, &attempts))
		return messages, attempts
	}
	messages, attempts := scanned()

	deleted, err := db.NewStore(pool).DeletePastRetention(t.Context(), 10*24*time.Hour, message.ID{}, 100)

	require.NoError(t, err)
	require.Equal(t, 100, deleted.Seen)
	require.Equal(t, 100, deleted.Messages)
	after, afterwards := scanned()
	require.Equal(t, messages, after, "the whole table was read")
	require.Equal(t, attempts, afterwards, "all attempts were read")
}
