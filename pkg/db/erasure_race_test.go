package db_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// awaitLockWait returns once somebody in this database waits for a row.
func awaitLockWait(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	require.Eventually(t, func() bool {
		var waits bool
		err := pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waits)
		return err == nil && waits
	}, time.Minute, time.Millisecond)
}

// TestAnOutcomeThatIsRecordedDuringAnErasureLeavesNothing has the recorder
// begin while the erasure has deleted the rows and not yet committed.
func TestAnOutcomeThatIsRecordedDuringAnErasureLeavesNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, store *db.Store, m message.Message) []db.Outcome{
		"the first outcome": func(_ *testing.T, _ *db.Store, m message.Message) []db.Outcome {
			return []db.Outcome{outcome(m, message.Succeed)}
		},
		"two outcomes of one message": func(_ *testing.T, _ *db.Store, m message.Message) []db.Outcome {
			first := outcome(m, message.Reschedule)
			m.Attempts, m.Version = 1, m.Version+1
			return []db.Outcome{first, outcome(m, message.Succeed)}
		},
		"a late outcome, which moves nothing": func(t *testing.T, store *db.Store, m message.Message) []db.Outcome {
			record(t, store, outcome(m, message.Succeed))
			return []db.Outcome{outcome(m, message.Reschedule, func(o *db.Outcome) { o.DeliveryCount = 2 })}
		},
	}
	for name, outcomes := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, pool := provisioned(t, 0)
			m := queued(t, store)
			late := outcomes(t, store, m)
			recorded := make(chan error, 1)

			erased, err := store.EraseBatch(t.Context(), m.To, 100, box, func(context.Context, []message.ID) error {
				go func() {
					_, err := store.Record(context.WithoutCancel(t.Context()), late, time.Minute)
					recorded <- err
				}()
				awaitLockWait(t, pool)
				return nil
			})

			require.NoError(t, err)
			require.Len(t, erased.Messages, 1)
			require.NoError(t, <-recorded)
			require.Empty(t, remaining(t, pool, "SELECT message_id FROM attempts"))
			require.Empty(t, remaining(t, pool, "SELECT id FROM messages"))
			require.Empty(t, remaining(t, pool, "SELECT id FROM message_filters"))
		})
	}
}

// TestAnErasurePassesOverWhatIsBeingRecorded and takes it in its next batch,
// with the attempt.
func TestAnErasurePassesOverWhatIsBeingRecorded(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	m := queued(t, store)
	recorder, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = recorder.Rollback(t.Context()) }()
	_, err = recorder.Exec(t.Context(), "SELECT FROM messages WHERE id = $1 FOR KEY SHARE", m.ID) // as LockMessages does
	require.NoError(t, err)
	_, err = recorder.Exec(t.Context(), "INSERT INTO attempts VALUES ($1, 1, 1, 1, now(), 1, 200, 'success')", m.ID)
	require.NoError(t, err)
	forget := func(context.Context, []message.ID) error { return nil }

	erased, err := store.EraseBatch(t.Context(), m.To, 100, box, forget)
	require.NoError(t, err)
	require.Empty(t, erased.Messages)
	has, err := store.HasRecipient(t.Context(), m.To)
	require.NoError(t, err)
	require.True(t, has, "there is more to erase")
	require.NoError(t, recorder.Commit(t.Context()))

	erased, err = store.EraseBatch(t.Context(), m.To, 100, box, forget)
	require.NoError(t, err)
	require.Len(t, erased.Messages, 1)
	require.EqualValues(t, 1, erased.Attempts)
	require.Empty(t, remaining(t, pool, "SELECT message_id FROM attempts"))
}

// TestRetentionTakesAttemptsThatWereJustRecorded stands for an outcome that
// commits after the step has begun and before it locks the row.
func TestRetentionTakesAttemptsThatWereJustRecorded(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, time.Hour)
	old(t, store, pool, message.Sent, 2*month, 2*month)
	exec(t, pool, `CREATE FUNCTION record_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO attempts VALUES (OLD.id, 1, 2, 1, now(), 1, 200, 'success'); RETURN OLD; END $$`)
	exec(t, pool, `CREATE TRIGGER record_late BEFORE DELETE ON messages FOR EACH ROW EXECUTE FUNCTION record_late()`)

	messages, attempts := retain(t, store)

	require.Equal(t, 1, messages)
	require.Equal(t, 2, attempts)
	require.Empty(t, remaining(t, pool, "SELECT message_id FROM attempts"))
}

// TestAttemptsWithoutAMessageAreSwept walks in steps of two messages.
func TestAttemptsWithoutAMessageAreSwept(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, time.Hour)
	var kept []message.ID
	for range 3 {
		kept = append(kept, old(t, store, pool, message.Sent, time.Hour, time.Hour))
		orphan := message.NewID(time.Now())
		exec(t, pool, `INSERT INTO attempts SELECT $1, 1, n, 1, now(), 1, 200, 'success' FROM generate_series(1, 3) AS n`, orphan)
	}
	exec(t, pool, `INSERT INTO attempts SELECT $1, 1, n, 1, now(), 1, 200, 'success' FROM generate_series(2, 4) AS n`, kept[0])

	swept := 0
	for d := (db.DeletedBatch{Seen: 2}); d.Seen == 2; {
		var err error
		d, err = store.DeleteOrphanedAttempts(t.Context(), d.Last, 2)
		require.NoError(t, err)
		require.LessOrEqual(t, d.Attempts, 6)
		swept += d.Attempts
	}

	require.Equal(t, 9, swept)
	require.ElementsMatch(t, append(kept, kept[0], kept[0], kept[0]), remaining(t, pool, "SELECT message_id FROM attempts"))
}
