package db_test

import (
	"io/fs"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/migrations"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
)

// leftovers lists everything in the schema that a migration can make.
const leftovers = `
	SELECT 'relation ' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = 'public' AND c.relname NOT LIKE 'schema_migrations%'
	UNION ALL SELECT 'function ' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public'
	UNION ALL SELECT 'type ' || t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
	WHERE n.nspname = 'public' AND t.typname NOT LIKE '%schema_migrations'`

func TestMigrationsLeadUpAndDown(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool, err := db.Open(ctx, dbtest.EmptyURL(t), db.Options{Name: t.Name()})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.ErrorIs(t, db.CheckSchema(ctx, pool), db.ErrNotMigrated)

	var wg sync.WaitGroup
	for range 3 { // three installations that are provisioned at once
		wg.Go(func() {
			if err := db.Migrate(ctx, pool); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.NoError(t, db.CheckSchema(ctx, pool))
	require.ErrorIs(t, db.NewStore(pool).CheckSchedule(ctx), db.ErrNotProvisioned)

	down, err := fs.Glob(migrations.Files, "*.down.sql")
	require.NoError(t, err)
	require.NotEmpty(t, down)
	slices.Sort(down)
	slices.Reverse(down)
	for _, file := range down {
		sql, err := fs.ReadFile(migrations.Files, file)
		require.NoError(t, err)
		exec(t, pool, string(sql))
	}
	rows, err := pool.Query(ctx, leftovers)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var left string
		require.NoError(t, rows.Scan(&left))
		t.Errorf("left behind: %s", left)
	}
	require.NoError(t, rows.Err())
}

func TestASchemaThatWasLeftHalfDoneIsNotUpToDate(t *testing.T) {
	t.Parallel()
	_, pool := provisioned(t, 0)
	exec(t, pool, "UPDATE schema_migrations SET dirty = true")
	require.ErrorIs(t, db.CheckSchema(t.Context(), pool), db.ErrNotMigrated)
}

func TestMigrateDownTakesOneStepBack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, pool := provisioned(t, 0)
	version, err := db.SchemaVersion(ctx, pool)
	require.NoError(t, err)
	require.Equal(t, db.LatestVersion(), version)
	require.True(t, db.DownLosesData(1), "the first step makes the tables")
	require.True(t, db.DownLosesData(version+1), "nobody knows what a later version keeps")

	for ; version > 0; version-- {
		require.NoError(t, db.MigrateDown(ctx, pool))
		now, err := db.SchemaVersion(ctx, pool)
		require.NoError(t, err)
		require.Equal(t, version-1, now)
	}
	require.NoError(t, db.MigrateDown(ctx, pool), "there is nothing left to take back")
	require.NoError(t, db.Migrate(ctx, pool))
	require.NoError(t, db.CheckSchema(ctx, pool))

	exec(t, pool, "UPDATE schema_migrations SET version = version + 1")
	require.NoError(t, db.CheckSchema(ctx, pool), "a newer schema serves an older program")
	require.ErrorContains(t, db.MigrateDown(ctx, pool), "newer")
}

func TestAStepOfTheSchemaIsMadeWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool, err := db.Open(ctx, dbtest.EmptyURL(t), db.Options{Name: t.Name()})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	exec(t, pool, "CREATE TABLE attempts ()") // in the way of the first step, after the statements before it
	require.Error(t, db.Migrate(ctx, pool))
	version, err := db.SchemaVersion(ctx, pool)
	require.NoError(t, err)
	require.Zero(t, version)

	exec(t, pool, "DROP TABLE attempts")
	require.NoError(t, db.Migrate(ctx, pool), "nothing is left of what failed")
	require.NoError(t, db.CheckSchema(ctx, pool))
}
