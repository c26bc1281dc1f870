package db_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// forOtherPrograms are defaults of a database that other programs may want.
var forOtherPrograms = map[string]string{
	"default_transaction_isolation":       "serializable",
	"default_transaction_read_only":       "on",
	"lock_timeout":                        "200ms",
	"statement_timeout":                   "200ms",
	"idle_session_timeout":                "1s",
	"idle_in_transaction_session_timeout": "1ms",
	"synchronous_commit":                  "off",
	"timezone":                            "Asia/Tokyo",
}

func withDefaults(t *testing.T) (url string) {
	t.Helper()
	url = dbtest.URL(t)
	pool, err := dbpool.Open(t.Context(), url, dbpool.Options{Name: "test"})
	require.NoError(t, err)
	defer dbpool.Close(pool)
	require.NoError(t, db.NewStore(pool).ProvisionSchedule(t.Context(), 0, 0))
	for name, value := range forOtherPrograms {
		exec(t, pool, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET "+name+" = ''"+value+"''', current_database()); END $$")
	}
	return url
}

func TestDefaultsForOtherProgramsChangeNothing(t *testing.T) {
	t.Parallel()
	pool := openPool(t, withDefaults(t), dbpool.Options{Name: "test"})
	for name, want := range map[string]string{
		"default_transaction_isolation": "read committed", "default_transaction_read_only": "off", "lock_timeout": "0",
		"statement_timeout": "0", "idle_session_timeout": "0", "idle_in_transaction_session_timeout": "5s",
		"synchronous_commit": "on", "timezone": "UTC",
	} {
		var is string
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&is))
		require.Equal(t, want, is, name)
	}
	store := db.NewStore(pool)
	m := queued(t, store)
	require.Equal(t, 1, record(t, store, outcome(m, message.Succeed)))
}

// TestAStopSeesWhatItHasWaitedFor: a stop waits for those who are emitting on
// arrival. Under a stricter isolation it would go by what the schedule said
// before, and fail.
func TestAStopSeesWhatItHasWaitedFor(t *testing.T) {
	t.Parallel()
	url := withDefaults(t)
	pool := openPool(t, url, dbpool.Options{Name: "test"})
	store, ctx := db.NewStore(pool), t.Context()
	arriving, err := pool.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = arriving.Rollback(ctx) }()
	_, err = arriving.Exec(ctx, "SELECT pg_advisory_xact_lock_shared($1)", db.FastPathLock)
	require.NoError(t, err)

	stopped := make(chan error, 1)
	go func() {
		_, err := store.SetRunning(ctx, false)
		stopped <- err
	}()
	require.Eventually(t, func() bool {
		var waits bool
		err := pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_locks
			WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`).Scan(&waits)
		return err == nil && waits
	}, time.Minute, time.Millisecond)
	_, err = arriving.Exec(ctx, "UPDATE schedule SET last_batch_size = 7")
	require.NoError(t, err)
	require.NoError(t, arriving.Commit(ctx))

	require.NoError(t, <-stopped)
	pace, err := store.Pace(ctx)
	require.NoError(t, err)
	require.False(t, pace.Running)
}

// What the URL sets is meant for these services: it holds, or is refused.
func TestASettingInTheURLHoldsOrIsRefused(t *testing.T) {
	t.Parallel()
	url := withDefaults(t)
	pool := openPool(t, url+"&lock_timeout=123", dbpool.Options{Name: "test"})
	var is string
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_setting('lock_timeout')").Scan(&is))
	require.Equal(t, "123ms", is)
	for _, mistake := range []string{"default_transaction_isolation=serializable", "default_transaction_read_only=on"} {
		require.ErrorContains(t, dbpool.CheckURL(url+"&"+mistake), mistake)
	}
}
