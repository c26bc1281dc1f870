package e2e_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/provision"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// unmigrated is an installation before its first provision, with what does
// that, and a connection to its database.
func unmigrated(t *testing.T) (w *pipeline, provisionAgain func() error, pool *pgxpool.Pool) {
	t.Helper()
	w = newUnprovisioned(t, "DATABASE_URL", dbtest.EmptyURL(t))
	cfg, err := settings.Parse[provision.Config](w.env)
	require.NoError(t, err)
	pool, err = dbpool.Open(t.Context(), w.env["DATABASE_URL"], dbpool.Options{Name: "test"})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return w, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
		defer cancel()
		return provision.Run(ctx, cfg, w.log())
	}, pool
}

// Postgres ends the session in the middle of a step of the schema, as when it
// is restarted then: the schema is made all the same.
func TestAProvisionGoesOnAfterALostConnection(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, provisionAgain, pool := unmigrated(t)
	obstacle, err := pool.Begin(ctx)
	require.NoError(t, err)
	_, err = obstacle.Exec(ctx, "CREATE TABLE messages ()") // the step waits to see what becomes of it
	require.NoError(t, err)

	done := make(chan error, 1)
	go func() { done <- provisionAgain() }()
	testenv.Eventually(t, func() bool {
		var ended bool
		err := pool.QueryRow(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'dispatch-provision' AND wait_event_type = 'Lock'`).Scan(&ended)
		return err == nil && ended
	})
	require.NoError(t, obstacle.Rollback(ctx))
	require.NoError(t, <-done)
	require.NoError(t, migrate.Check(ctx, pool))
	require.NoError(t, w.store.CheckSchedule(ctx))
}

// What another try would not mend ends a provision at once.
func TestAProvisionThatIsRefusedSaysSo(t *testing.T) {
	t.Parallel()
	_, provisionAgain, pool := unmigrated(t)
	_, err := pool.Exec(t.Context(), "CREATE TABLE messages ()") // somebody else's
	require.NoError(t, err)

	err = provisionAgain()
	var refused *pgconn.PgError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "42P07", refused.Code)
	require.ErrorContains(t, err, `relation "messages" already exists`)
}
