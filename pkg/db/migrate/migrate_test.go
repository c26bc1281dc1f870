package migrate_test

import (
	"os"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
)

// three are steps for what a single released step cannot prove.
var three = migrate.Steps{Files: os.DirFS("testdata")}

func exec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	_, err := pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// empty returns a pool on a database without a schema.
func empty(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := dbpool.Open(t.Context(), dbtest.EmptyURL(t), dbpool.Options{Name: t.Name()})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func TestSeveralMayMigrateAtOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, steps := range map[string]struct{ up, check func(*pgxpool.Pool) error }{
		"released": {
			func(pool *pgxpool.Pool) error { return migrate.Up(ctx, pool) },
			func(pool *pgxpool.Pool) error { return migrate.Check(ctx, pool) },
		},
		"three": {
			func(pool *pgxpool.Pool) error { return three.Up(ctx, pool) },
			func(pool *pgxpool.Pool) error { return three.Check(ctx, pool) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := empty(t)
			require.ErrorIs(t, steps.check(pool), migrate.ErrNotMigrated)

			var wg sync.WaitGroup
			for range 3 { // three installations that are provisioned at once
				wg.Go(func() {
					if err := steps.up(pool); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			require.NoError(t, steps.check(pool))
		})
	}
}

func TestAMigratedDatabaseHasNoScheduleYet(t *testing.T) {
	t.Parallel()
	pool := empty(t)
	require.NoError(t, migrate.Up(t.Context(), pool))
	require.ErrorIs(t, db.NewStore(pool).CheckSchedule(t.Context()), db.ErrNotProvisioned)
}

func TestASchemaThatWasLeftHalfDoneIsNotUpToDate(t *testing.T) {
	t.Parallel()
	pool := dbtest.Pool(t)
	exec(t, pool, "UPDATE schema_migrations SET dirty = true")
	require.ErrorIs(t, migrate.Check(t.Context(), pool), migrate.ErrNotMigrated)
	err := migrate.Up(t.Context(), pool)
	require.ErrorIs(t, err, migrate.ErrUnfinished)
	require.False(t, dbpool.Interrupted(err), "waiting does not finish it")
}

func TestDownTakesOneStepBack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := empty(t)
	require.NoError(t, three.Up(ctx, pool))
	version, err := migrate.Version(ctx, pool)
	require.NoError(t, err)
	require.EqualValues(t, 3, version)
	require.Equal(t, three.LatestVersion(), version)
	require.True(t, three.DownLosesData(1), "the first step makes a table")
	require.True(t, three.DownLosesData(2), "the second adds a column")
	require.False(t, three.DownLosesData(3), "the third stores nothing")
	require.True(t, three.DownLosesData(version+1), "nobody knows what a later version keeps")
	require.True(t, migrate.DownLosesData(1), "the first released step makes the tables")

	for ; version > 0; version-- {
		require.NoError(t, three.Down(ctx, pool))
		now, err := migrate.Version(ctx, pool)
		require.NoError(t, err)
		require.Equal(t, version-1, now)
		require.ErrorIs(t, three.Check(ctx, pool), migrate.ErrNotMigrated)
	}
	require.NoError(t, three.Down(ctx, pool), "there is nothing left to take back")
	require.NoError(t, three.Up(ctx, pool))
	require.NoError(t, three.Check(ctx, pool))

	exec(t, pool, "UPDATE schema_migrations SET version = version + 1")
	require.NoError(t, three.Check(ctx, pool), "a newer schema serves an older program")
	require.NoError(t, three.Up(ctx, pool), "also one that is taken back to it")
	require.ErrorContains(t, three.Down(ctx, pool), "newer")
}

func TestAnOlderSchemaIsBroughtUp(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := empty(t)
	require.NoError(t, three.Up(ctx, pool))
	require.NoError(t, three.Down(ctx, pool))
	exec(t, pool, "INSERT INTO parcels VALUES (1, 'kept', 2)")
	require.ErrorContains(t, three.Check(ctx, pool), "schema is at version 2, wanted 3")
	require.NoError(t, three.Up(ctx, pool))
	var name string
	require.NoError(t, pool.QueryRow(ctx, "SELECT name FROM parcels WHERE weight = 2").Scan(&name))
	require.Equal(t, "kept", name)
}

func TestAStepOfTheSchemaIsMadeWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := empty(t)
	exec(t, pool, "CREATE TABLE attempts ()") // in the way of the first step, after the statements before it
	require.Error(t, migrate.Up(ctx, pool))
	version, err := migrate.Version(ctx, pool)
	require.NoError(t, err)
	require.Zero(t, version)

	exec(t, pool, "DROP TABLE attempts")
	require.NoError(t, migrate.Up(ctx, pool), "nothing is left of what failed")
	require.NoError(t, migrate.Check(ctx, pool))
}
