package db_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
)

// TestATransactionThatFailsAtItsEndLeavesNothing: its last statement, with
// which COMMIT travels, or COMMIT itself. The connection is good for the next.
func TestATransactionThatFailsAtItsEndLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, timing := range map[string]string{
		"the last statement": "",
		"COMMIT":             "DEFERRABLE INITIALLY DEFERRED",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := open(t, dbtest.URL(t), dbpool.Options{MaxConns: 1})
			store := db.NewStore(pool)
			require.NoError(t, store.ProvisionSchedule(t.Context(), 0, 0))
			exec(t, pool, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$`)
			exec(t, pool, `CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON outbox `+timing+` FOR EACH ROW EXECUTE FUNCTION refuse()`)

			_, _, err := store.Insert(t.Context(), drafts(3), box)
			require.ErrorContains(t, err, "refused")
			require.Zero(t, stored(t, pool))

			exec(t, pool, `DROP TRIGGER refuse ON outbox`)
			_, outboxID, err := store.Insert(t.Context(), drafts(3), box)
			require.NoError(t, err)
			require.NotZero(t, outboxID)
			require.Equal(t, 3, stored(t, pool))

			exec(t, pool, `CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON outbox `+timing+` FOR EACH ROW EXECUTE FUNCTION refuse()`)
			_, err = store.Tick(t.Context(), tickParams(10))
			require.ErrorContains(t, err, "refused")
			exec(t, pool, `DROP TRIGGER refuse ON outbox`)
			require.Len(t, claim(t, store, 10).Fresh, 3, "what a failed tick claimed is free")
		})
	}
}

func stored(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM messages`).Scan(&n))
	return n
}
