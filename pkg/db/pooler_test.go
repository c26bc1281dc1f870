package db_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// openPool opens a pool that closes with the test.
func openPool(t *testing.T, url string, options dbpool.Options) *pgxpool.Pool {
	t.Helper()
	pool, err := dbpool.Open(t.Context(), url, options)
	require.NoError(t, err)
	t.Cleanup(func() { dbpool.Close(pool) })
	return pool
}

// TestEverythingWorksThroughAPooler is on a pooler that has one server
// connection for all: whoever leaves a setting, a lock or a prepared statement
// behind on it shows.
func TestEverythingWorksThroughAPooler(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"transaction", "session"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			direct := dbtest.EmptyURL(t)
			connections := map[string]string{"transaction": "1", "session": "8"}[mode] // a session has one of its own
			url := embeddedtest.PgBouncer(t, direct, mode, "default_pool_size = "+connections)
			pool := openPool(t, url, dbpool.Options{Name: "test", MaxConns: 4})
			lists := openPool(t, url, dbpool.Options{Name: "lists", MaxConns: 2, Lists: true})
			require.NoError(t, migrate.Up(t.Context(), pool))
			store := db.NewStore(pool).WithReadPool(lists)
			require.NoError(t, store.ProvisionSchedule(t.Context(), 0, 0))

			// A second service uses the same statements on the same server.
			other := db.NewStore(openPool(t, url, dbpool.Options{Name: "other", MaxConns: 2}))
			ids := make([]message.ID, 4)
			for i := range ids {
				m := draft()
				ids[i] = m.ID
				_, _, err := []*db.Store{store, other}[i%2].Insert(t.Context(), []message.Message{m}, box)
				require.NoError(t, err)
				_, err = []*db.Store{other, store}[i%2].Get(t.Context(), m.ID)
				require.NoError(t, err)
			}
			for _, statuses := range [][]message.Status{{message.Pending}, {message.Pending, message.Failed}} {
				found, err := store.List(t.Context(), db.Filter{Statuses: statuses, Limit: 10})
				require.NoError(t, err)
				require.Len(t, found, len(ids))
			}
			cancelled, _, err := store.Cancel(t.Context(), ids[0], box)
			require.NoError(t, err)
			require.Equal(t, message.Cancelled, cancelled.Status)
			_, err = store.Get(t.Context(), message.NewID(time.Now()))
			require.ErrorIs(t, err, db.ErrNotFound)
			_, err = store.Get(t.Context(), ids[1])
			require.NoError(t, err, "an answer without a row leaves the connection usable")
		})
	}
}

// TestTransactionsThroughAPoolerHaveTheSettings asks within a transaction, and
// then for what is left behind.
func TestTransactionsThroughAPoolerHaveTheSettings(t *testing.T) {
	t.Parallel()
	url := embeddedtest.PgBouncer(t, dbtest.URL(t), "transaction", "default_pool_size = 1")
	pool := openPool(t, url, dbpool.Options{Name: "test", Lists: true, StatementTimeout: 7 * time.Second})
	const question = `SELECT current_setting('enable_seqscan') || ' ' || current_setting('jit') || ' ' || current_setting('enable_sort') || ' ' ||
		current_setting('idle_in_transaction_session_timeout') || ' ' || current_setting('statement_timeout')`
	var settings string
	require.NoError(t, dbpool.Statements(pool).QueryRow(t.Context(), question).Scan(&settings))
	require.Equal(t, "off off off 5s 7s", settings)
	require.NoError(t, pool.QueryRow(t.Context(), question).Scan(&settings))
	require.NotContains(t, settings, "7s", "the next one to get this server has none of it")
	require.NotContains(t, settings, "off off off")
}

func TestAFailedStatementLeavesAPoolersConnectionUsable(t *testing.T) {
	t.Parallel()
	url := embeddedtest.PgBouncer(t, dbtest.URL(t), "transaction", "default_pool_size = 1")
	pool := openPool(t, url, dbpool.Options{Name: "test", MaxConns: 1})
	on := dbpool.Statements(pool)
	_, err := on.Exec(t.Context(), "SELECT 1/0")
	require.ErrorContains(t, err, "division by zero")
	var n int
	require.ErrorContains(t, on.QueryRow(t.Context(), "SELECT 1/(n-1) FROM generate_series(0, 1) AS n").Scan(&n), "division by zero")
	require.NoError(t, on.QueryRow(t.Context(), "SELECT 5").Scan(&n))
	require.Equal(t, 5, n)
	tag, err := on.Exec(t.Context(), "UPDATE schedule SET running = running")
	require.NoError(t, err)
	require.Zero(t, tag.RowsAffected())
}

// TestAPoolerThatCanNotWorkIsRefusedWithTheReason is what a service says at its
// start and goes on saying.
func TestAPoolerThatCanNotWorkIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	direct := dbtest.URL(t)
	pool := openPool(t, embeddedtest.PgBouncer(t, direct, "statement"), dbpool.Options{Name: "test"})
	require.ErrorIs(t, pool.Ping(t.Context()), dbpool.ErrStatementPooling)

	url := embeddedtest.PgBouncer(t, direct, "transaction")
	pool = openPool(t, url+"&search_path=public", dbpool.Options{Name: "test"})
	require.ErrorContains(t, pool.Ping(t.Context()), "search_path")

	for _, mode := range []string{"exec", "simple_protocol", "describe_exec"} {
		_, err := dbpool.Open(t.Context(), url+"&default_query_exec_mode="+mode, dbpool.Options{})
		require.ErrorContains(t, err, "default_query_exec_mode")
		require.ErrorContains(t, dbpool.CheckURL(url+"&default_query_exec_mode="+mode), "default_query_exec_mode")
	}
	require.NoError(t, dbpool.CheckURL(url+"&default_query_exec_mode=cache_describe"))
}
