package db_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/postgres"
)

// standby starts a server in recovery, with a role of the given name, and
// returns the URL of a database of it. It answers queries.
func standby(t *testing.T, role string) string {
	t.Helper()
	dir := embeddedtest.Dir(t)
	server, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, Settings: map[string]string{"fsync": "off"}})
	require.NoError(t, err)
	makeRole(t, server.URL("postgres"), role)
	require.NoError(t, server.Stop(t.Context()))
	signal := filepath.Join(dir, "data", "standby.signal")
	require.NoError(t, os.WriteFile(signal, nil, 0o644))
	require.NoError(t, os.Chmod(signal, 0o666))
	server, err = postgres.Start(t.Context(), postgres.Config{Dir: dir, Settings: map[string]string{"fsync": "off"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	return server.URL("postgres")
}

func makeRole(t *testing.T, address, role string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), fmt.Sprintf("CREATE ROLE %s SUPERUSER LOGIN PASSWORD 'same'", role))
	require.NoError(t, err)
}

// TestAServerInRecoveryIsNone answers queries and takes no writes: without a
// look, services would be ready on it and fail at each write.
func TestAServerInRecoveryIsNone(t *testing.T) {
	t.Parallel()
	const role = "of_both_servers"
	there := standby(t, role)
	pool := openPool(t, there, dbpool.Options{Name: "test"})
	err := dbpool.Ping(pool)(t.Context())
	require.ErrorIs(t, err, dbpool.ErrInRecovery)
	require.True(t, dbpool.Interrupted(err), "it may be promoted")
	require.Equal(t, "the database is in recovery: it takes no writes", dbpool.Reason(err))

	// Of several hosts, the primary is taken, whichever comes first.
	primary, err := url.Parse(dbtest.URL(t))
	require.NoError(t, err)
	makeRole(t, primary.String()[:len(primary.String())-len("&pool_max_conns=10")], role)
	second, err := url.Parse(there)
	require.NoError(t, err)
	both := *primary
	both.User, both.Host = url.UserPassword(role, "same"), second.Host+","+primary.Host
	require.NoError(t, dbpool.CheckURL(both.String()))
	several := openPool(t, both.String(), dbpool.Options{Name: "test"})
	err = dbpool.Ping(several)(t.Context())
	require.Error(t, err, "the other server has no such database")
	both.Path = "/postgres"
	several = openPool(t, both.String(), dbpool.Options{Name: "test"})
	require.NoError(t, dbpool.Ping(several)(t.Context()))

	conn, err := pgx.Connect(t.Context(), there)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "SELECT pg_promote()")
	require.NoError(t, err)
	require.NoError(t, dbpool.Ping(pool)(t.Context()), "once it is promoted it serves")
}

// TestAConnectionThatTakesNoWritesIsGivenUp is behind a pooler, whose server
// was a primary when the connection was made.
func TestAConnectionThatTakesNoWritesIsGivenUp(t *testing.T) {
	t.Parallel()
	pool := openPool(t, dbtest.URL(t), dbpool.Options{Name: "test", MaxConns: 1})
	var before, after int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&before))
	exec(t, pool, "SET default_transaction_read_only = on") // as a standby has it
	_, err := pool.Exec(t.Context(), "UPDATE schedule SET running = true")
	require.True(t, dbpool.Unavailable(err))
	require.Equal(t, "the database takes no writes", dbpool.Reason(err))
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&after))
	require.NotEqual(t, before, after)
}

func TestAURLThatAsksForAStandbyIsRefused(t *testing.T) {
	t.Parallel()
	const url = "postgres://u:p@a,b/d?target_session_attrs="
	for _, wrong := range []string{"standby", "read-only", "prefer-standby"} {
		require.ErrorContains(t, dbpool.CheckURL(url+wrong), "the services write")
	}
	for _, right := range []string{"any", "primary", "read-write"} {
		require.NoError(t, dbpool.CheckURL(url+right))
	}
}

// TestAnErrorSaysWhoseItIs tells an outage from what waiting does not mend.
func TestAnErrorSaysWhoseItIs(t *testing.T) {
	t.Parallel()
	address := dbtest.URL(t)
	pool := openPool(t, address, dbpool.Options{Name: "test"})
	_, err := pool.Exec(t.Context(), "SELECT $1::int", struct{}{})
	require.Error(t, err)
	require.False(t, dbpool.Unavailable(err), "a value that can't be sent: %v", err)
	var n int
	err = pool.QueryRow(t.Context(), "SELECT 'x'").Scan(&n)
	require.Error(t, err)
	require.False(t, dbpool.Unavailable(err), "a value that can't be read: %v", err)

	const lacks = "the database lacks a table, or its search_path leads elsewhere: run dispatch provision"
	for parameter, want := range map[string]string{
		"search_path=nowhere": lacks, "search_path=pg_catalog": lacks,
		"connect_timeout=1": "", "default_query_exec_mode=cache_describe": "",
	} {
		_, err := db.NewStore(openPool(t, address+"&"+parameter, dbpool.Options{Name: "test"})).LoadQueued(t.Context(), nil, 1)
		if want == "" {
			require.NoError(t, err, parameter)
			continue
		}
		require.True(t, dbpool.Unavailable(err), "%s: %v", parameter, err)
		require.Equal(t, want, dbpool.Reason(err))
	}

	wrong, err := url.Parse(address)
	require.NoError(t, err)
	wrong.User = url.UserPassword(wrong.User.Username(), "wrong")
	err = openPool(t, wrong.String(), dbpool.Options{}).Ping(t.Context())
	require.Equal(t, "the database refuses the user or the password", dbpool.Reason(err))
	err = openPool(t, "postgres://u:p@127.0.0.1:1/d", dbpool.Options{}).Ping(t.Context())
	require.True(t, dbpool.Interrupted(err))
	require.Equal(t, "the database is not available", dbpool.Reason(err))

	ended, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	_, err = pool.Exec(ended, "SELECT 1")
	require.True(t, dbpool.Interrupted(err))
	_, err = pool.Exec(t.Context(), "SELECT pg_terminate_backend(pg_backend_pid())")
	require.True(t, dbpool.Interrupted(err))
	pool.Close()
	_, err = pool.Exec(t.Context(), "SELECT 1")
	require.True(t, dbpool.Interrupted(err))
}
