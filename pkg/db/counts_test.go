package db_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestCountsAreExactAfterAStorm(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, pool := provisioned(t, 0)
	var seeded []message.ID
	for range 4 {
		stored, _, err := store.Insert(ctx, drafts(50), box)
		require.NoError(t, err)
		for _, s := range stored {
			seeded = append(seeded, s.Message.ID)
		}
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 60 {
				// What a move is refused for, or a deadlock that undoes it, is
				// part of the storm.
				storm(ctx, store, random, seeded[random.IntN(len(seeded))])
			}
		})
	}
	wg.Go(func() {
		for range 40 {
			if err := store.FoldCounts(ctx); err != nil && !dbpool.Unavailable(err) {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	exec(t, pool, "DELETE FROM messages WHERE id = $1", seeded[0])

	for range 2 { // before a last fold, and after
		overview, err := store.Overview(ctx)
		require.NoError(t, err)
		for _, status := range message.Statuses() {
			var n int64
			require.NoError(t, pool.QueryRow(ctx, "SELECT count(*) FROM messages WHERE status = $1::text::message_status", string(status)).Scan(&n))
			require.Equal(t, n, overview.Counts[status], status)
		}
		require.NoError(t, store.FoldCounts(ctx))
	}
}

// Rows that were folded while somebody holds an old snapshot stay in the table,
// dead. Nobody reads them again.
func TestStatusDoesNotReadFoldedCountsUnderALongHeldSnapshot(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, others := provisioned(t, 0)
	holdSnapshot(t, others)
	writer, err := others.Begin(ctx) // one that holds a transaction number, too
	require.NoError(t, err)
	defer writer.Rollback(ctx) //nolint:errcheck // it is only there
	_, err = writer.Exec(ctx, "SET LOCAL idle_in_transaction_session_timeout = 0; SELECT pg_current_xact_id()")
	require.NoError(t, err)
	pool := open(t, others.Config().ConnString(), dbpool.Options{MaxConns: 1}) // one session, so that its statistics are known
	store := db.NewStore(pool)
	for range 3 {
		exec(t, pool, "INSERT INTO status_counts SELECT 'default', 'PENDING', 1 FROM generate_series(1, 50000)")
		require.NoError(t, store.FoldCounts(ctx))
	}
	reader := db.NewStore(pool) // one that never folds learns the watermark by reading
	_, err = reader.Overview(ctx)
	require.NoError(t, err)

	for name, s := range map[string]*db.Store{"folds": store, "reads": reader} {
		before := countsRead(t, pool)
		overview, err := s.Overview(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 150_000, overview.Counts[message.Pending])
		require.Less(t, countsRead(t, pool)-before, int64(1000), name)
	}
	before := countsRead(t, pool)
	require.NoError(t, store.FoldCounts(ctx))
	require.Less(t, countsRead(t, pool)-before, int64(1000))
}

// A transaction that began before a fold and commits after it has an older
// number than the watermark.
func TestCountsOfATransactionThatOverlapsAFoldAreNotLost(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, pool := provisioned(t, 0)
	reader := db.NewStore(pool)
	pending := func(s *db.Store) int64 {
		overview, err := s.Overview(ctx)
		require.NoError(t, err)
		return overview.Counts[message.Pending]
	}
	slow, err := pool.Begin(ctx)
	require.NoError(t, err)
	defer slow.Rollback(ctx) //nolint:errcheck // it is committed, unless the test failed
	_, err = slow.Exec(ctx, "INSERT INTO status_counts SELECT 'default', 'PENDING', 7")
	require.NoError(t, err)
	exec(t, pool, "INSERT INTO status_counts SELECT 'default', 'PENDING', 100")
	require.NoError(t, store.FoldCounts(ctx))
	exec(t, pool, "INSERT INTO status_counts SELECT 'default', 'PENDING', 1000")
	require.EqualValues(t, 1100, pending(store))
	require.EqualValues(t, 1100, pending(reader))

	require.NoError(t, slow.Commit(ctx))

	for range 2 { // a read moves the watermark, and so does a fold
		for range 2 {
			require.EqualValues(t, 1107, pending(store))
			require.EqualValues(t, 1107, pending(reader))
		}
		require.NoError(t, store.FoldCounts(ctx))
	}
}

// holdSnapshot holds an old snapshot until the test ends, as a backup does.
func holdSnapshot(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	tx, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, tx.Rollback(context.WithoutCancel(t.Context()))) })
	for _, sql := range []string{"SET idle_in_transaction_session_timeout = 0", "SELECT count(*) FROM messages"} {
		_, err = tx.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
}

// countsRead is how many rows of status_counts, dead ones too, all statements
// so far have looked at by its index.
func countsRead(t *testing.T, pool *pgxpool.Pool) int64 {
	t.Helper()
	exec(t, pool, "SELECT pg_stat_force_next_flush()")
	var n int64
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes WHERE indexrelname = 'status_counts_written_by'`).Scan(&n))
	return n
}

// storm makes one move of some kind.
func storm(ctx context.Context, store *db.Store, random *rand.Rand, id message.ID) {
	m, err := store.Get(ctx, id)
	if err != nil {
		return
	}
	switch random.IntN(7) {
	case 0, 1:
		tick, err := store.Tick(ctx, tickParams(5))
		if err == nil && tick.OutboxID != 0 {
			_ = store.FinishClaim(ctx, tick.OutboxID, tick.Size())
		}
	case 2:
		_, _, _ = store.Cancel(ctx, id, box)
	case 3:
		_, _ = store.Redrive(ctx, id, nil)
	case 4:
		_, _, _ = store.Insert(ctx, drafts(3), box)
	default:
		moves := []message.Transition{message.Succeed, message.Reschedule, message.Fail, message.ExpireInFlight}
		o := outcome(m, moves[random.IntN(len(moves))])
		_, _ = store.Record(ctx, []db.Outcome{o, o}, time.Minute)
	}
}
