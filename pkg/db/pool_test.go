package db_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
)

// TestPostgresCompilesNothing on a server as it comes, with jit on: since no
// scan is cheap where sequential ones are off, each insert would be compiled
// for half a second.
func TestPostgresCompilesNothing(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	open := func() (jit string) {
		pool, err := dbpool.Open(t.Context(), url, dbpool.Options{Name: "test"})
		require.NoError(t, err)
		defer dbpool.Close(pool)
		require.NoError(t, pool.QueryRow(t.Context(), "SHOW jit").Scan(&jit))
		_, err = pool.Exec(t.Context(), "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET jit = on', current_database()); END $$")
		require.NoError(t, err)
		return jit
	}
	require.Equal(t, "off", open())
	require.Equal(t, "off", open())
}

func TestAConnectionIsMadeInTheTimeOfTheURL(t *testing.T) {
	t.Parallel()
	for parameters, want := range map[string]time.Duration{"": 5 * time.Second, "?connect_timeout=30": 30 * time.Second} {
		pool, err := dbpool.Open(t.Context(), "postgres://u:p@127.0.0.1:1/d"+parameters, dbpool.Options{})
		require.NoError(t, err)
		require.Equal(t, want, pool.Config().ConnConfig.ConnectTimeout)
		pool.Close()
	}
}
