package migrate_test

import (
	"context"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
)

// migrating is a pool for a migration, and another for everything else.
func migrating(t *testing.T, address, parameter string) (pool, other *pgxpool.Pool) {
	t.Helper()
	pool, err := dbpool.Open(t.Context(), address+parameter, dbpool.Options{Name: t.Name()})
	require.NoError(t, err)
	t.Cleanup(func() { dbpool.Close(pool) })
	other, err = dbpool.Open(t.Context(), address, dbpool.Options{Name: "other"})
	require.NoError(t, err)
	t.Cleanup(func() { dbpool.Close(other) })
	return pool, other
}

func TestAMigrationSaysWhichRightIsMissing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	address := dbtest.EmptyURL(t)
	_, owner := migrating(t, address, "")
	plain := dbtest.PlainLogin(t, address)
	pool, _ := migrating(t, plain, "")
	there, err := url.Parse(plain)
	require.NoError(t, err)

	err = migrate.Up(ctx, pool)
	require.ErrorIs(t, err, migrate.ErrMissingRight)
	require.False(t, dbpool.Interrupted(err), "waiting does not help")
	require.ErrorContains(t, err, "permission denied for schema public")
	require.Zero(t, pool.Stat().AcquiredConns(), "a connection that is kept holds up the end of the process")

	grant := regexp.MustCompile(`GRANT .* TO ` + there.User.Username()).FindString(err.Error())
	require.Equal(t, "GRANT CREATE ON SCHEMA public TO "+there.User.Username(), grant)
	exec(t, owner, grant)
	require.NoError(t, migrate.Up(ctx, pool), "what it asks for is enough")
}

func TestAMigrationSaysThatOtherTablesThereAreNotItsOwn(t *testing.T) {
	t.Parallel()
	address := dbtest.EmptyURL(t)
	_, owner := migrating(t, address, "")
	require.NoError(t, three.Up(t.Context(), owner))
	require.NoError(t, three.Down(t.Context(), owner))
	plain := dbtest.PlainLogin(t, address)
	pool, _ := migrating(t, plain, "")
	there, err := url.Parse(plain)
	require.NoError(t, err)
	role := there.User.Username()

	err = three.Up(t.Context(), pool)
	require.ErrorIs(t, err, migrate.ErrMissingRight, "it may not even read the version")
	exec(t, owner, "GRANT CREATE ON SCHEMA public TO "+role)
	exec(t, owner, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "+role)
	err = three.Up(t.Context(), pool)
	require.ErrorIs(t, err, migrate.ErrMissingRight)
	require.ErrorContains(t, err, "the role "+role+" does not own the tables in the schema public")

	exec(t, owner, "REVOKE USAGE ON SCHEMA public FROM PUBLIC, "+role)
	require.ErrorContains(t, three.Up(t.Context(), pool), "GRANT USAGE, CREATE ON SCHEMA … TO "+role)
	require.Zero(t, pool.Stat().AcquiredConns())
}

// A lock of another session is neither waited for without a word nor for ever.
func TestAMigrationThatIsHeldUpSaysSo(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool, other := migrating(t, dbtest.EmptyURL(t), "&lock_timeout=100")
	obstacle, err := other.Begin(ctx)
	require.NoError(t, err)
	_, err = obstacle.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", migrate.AdvisoryLock)
	require.NoError(t, err)

	err = migrate.Up(ctx, pool)
	require.ErrorIs(t, err, migrate.ErrLocked)
	require.True(t, dbpool.Interrupted(err), "later it works")
	require.NoError(t, obstacle.Rollback(ctx))
	require.NoError(t, migrate.Up(ctx, pool))
}

func TestTheEndOfItsContextEndsAMigration(t *testing.T) {
	t.Parallel()
	pool, other := migrating(t, dbtest.EmptyURL(t), "")
	obstacle, err := other.Begin(t.Context())
	require.NoError(t, err)
	_, err = obstacle.Exec(t.Context(), "CREATE TABLE messages ()") // a step waits to see what becomes of it
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- migrate.Up(ctx, pool) }()
	require.Eventually(t, func() bool {
		var waits bool
		err := other.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waits)
		return err == nil && waits
	}, 30*time.Second, 5*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.NoError(t, obstacle.Rollback(t.Context()))
	require.Eventually(t, func() bool { return pool.Stat().AcquiredConns() == 0 }, 30*time.Second, 5*time.Millisecond)
	require.NoError(t, migrate.Up(t.Context(), pool), "nothing is left of what was cancelled")
}
