package db_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
)

func TestSeveralMayMigrateAtOnce(t *testing.T) {
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
}

func TestASchemaThatWasLeftHalfDoneIsNotUpToDate(t *testing.T) {
	t.Parallel()
	_, pool := provisioned(t, 0)
	exec(t, pool, "UPDATE schema_migrations SET dirty = true")
	require.ErrorIs(t, db.CheckSchema(t.Context(), pool), db.ErrNotMigrated)
	err := db.Migrate(t.Context(), pool)
	require.ErrorIs(t, err, db.ErrUnfinished)
	require.False(t, db.Interrupted(err), "waiting does not finish it")
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
	require.NoError(t, db.Migrate(ctx, pool), "also one that is taken back to it")
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
