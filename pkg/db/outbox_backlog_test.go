package db_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
)

// Rows that were published while somebody holds an old snapshot stay in the
// table, dead. A relay that finds nothing does not look at them each second.
func TestARelayDoesNotReadPublishedRowsUnderALongHeldSnapshot(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, others := provisioned(t, 0)
	holdSnapshot(t, others)
	pool := open(t, others.Config().ConnString(), dbpool.Options{MaxConns: 1}) // one session, so that its statistics are known
	store := db.NewStore(pool)
	exec(t, pool, `INSERT INTO outbox (batch, is_claim, fast_path) SELECT '\x01', n % 2 = 0, n % 2 = 0 FROM generate_series(1, 20000) AS n`)
	exec(t, pool, "DELETE FROM outbox")
	look := func() (claims int) {
		_, err := store.Relay(ctx, relayAll(0), func(context.Context, []db.OutboxRow) []db.RelayResult { claims++; return nil })
		require.NoError(t, err)
		found, err := store.AbandonedClaims(ctx, 0, 10)
		require.NoError(t, err)
		return claims + len(found)
	}
	measure := func() {
		store.ForgetBacklog()
		_, _, err := store.OutboxBacklog(ctx)
		require.NoError(t, err)
	}
	measure()
	measure()

	before := outboxRead(t, pool)
	require.Zero(t, look())
	require.Less(t, outboxRead(t, pool)-before, int64(100))

	exec(t, pool, `INSERT INTO outbox (batch, is_claim) VALUES ('\x01', true)`)
	require.Equal(t, 1, look())
	measure()
	measure()
	require.Equal(t, 1, look(), "it stays visible")
	exec(t, pool, `INSERT INTO outbox (id, batch) OVERRIDING SYSTEM VALUE VALUES (5, '\x01')`) // of a transaction that took long
	measure()
	require.Equal(t, 2, look(), "the next measurement finds it")
}

// outboxRead is how many entries of the outbox' indexes all statements so far
// have read.
func outboxRead(t *testing.T, pool *pgxpool.Pool) int64 {
	t.Helper()
	exec(t, pool, "SELECT pg_stat_force_next_flush()")
	var n int64
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes WHERE relname = 'outbox'`).Scan(&n))
	return n
}
