package db_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func relayAll(after int64) db.RelayParams {
	return db.RelayParams{After: after, Limit: 10, Lease: lease}
}

func TestWhatIsRelayedIsGoneAndTheRestStays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, _ := provisioned(t, 0)
	for range 3 {
		insert(t, store)
	}
	var seen []int64
	relayed, err := store.Relay(ctx, relayAll(0), func(_ context.Context, rows []db.Abandoned) []db.Published {
		for _, row := range rows {
			require.False(t, row.IsClaim)
			require.Equal(t, "1 moved", string(row.Batch))
			seen = append(seen, row.ID)
		}
		return []db.Published{{ID: rows[0].ID}, {ID: rows[2].ID}}
	})
	require.NoError(t, err)
	require.Equal(t, db.Relayed{Rows: 3, Last: seen[2], Published: 2}, relayed)

	rows, oldest, err := store.OutboxBacklog(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 1, rows)
	require.Positive(t, oldest)
	relayed, err = store.Relay(ctx, relayAll(seen[1]), nil)
	require.NoError(t, err)
	require.Zero(t, relayed.Rows, "a round goes on after the last")
	young := relayAll(0)
	young.Age = time.Minute
	relayed, err = store.Relay(ctx, young, nil)
	require.NoError(t, err)
	require.Zero(t, relayed.Rows, "its owner still has time")
}

func TestARelayedClaimBeginsTheIntervalAndTheLeases(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, pool := provisioned(t, time.Hour)
	m := insert(t, store)
	require.NoError(t, store.DeletePublished(ctx, []int64{1, 2, 3}))
	tick, err := store.Tick(ctx, tickParams(10))
	require.NoError(t, err)
	exec(t, pool, "UPDATE messages SET lease_until = clock_timestamp() - interval '1 second'")
	require.NoError(t, store.DeletePublished(ctx, []int64{tick.OutboxID}))
	claims, err := store.UnpublishedClaims(ctx, 0)
	require.NoError(t, err)
	require.Len(t, claims, 1, "only FinishClaim ends a claim")
	require.Equal(t, tick.OutboxID, claims[0].OutboxID)

	relayed, err := store.Relay(ctx, relayAll(0), func(_ context.Context, rows []db.Abandoned) []db.Published {
		require.True(t, rows[0].IsClaim)
		return []db.Published{{ID: rows[0].ID, Emissions: []db.Emission{{ID: m.ID, Claim: 1}}}}
	})
	require.NoError(t, err)
	require.Equal(t, 1, relayed.Published)

	pace, err := store.Pace(ctx)
	require.NoError(t, err)
	require.False(t, pace.Open)
	require.InDelta(t, time.Hour, pace.Wait, float64(time.Minute))
	lost, err := store.LeasesLost(ctx, db.Lost{}, 10)
	require.NoError(t, err)
	require.Empty(t, lost)
	before, err := store.Overview(ctx)
	require.NoError(t, err)
	require.NoError(t, store.FinishClaim(ctx, tick.OutboxID, 99), "the owner comes second")
	after, err := store.Overview(ctx)
	require.NoError(t, err)
	require.Equal(t, before.NextTickAt, after.NextTickAt)
	require.Equal(t, 1, after.LastBatch)
}

func TestRelaysPassOverEachOthersRows(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, _ := provisioned(t, 0)
	for range 40 {
		insert(t, store)
	}
	var mu sync.Mutex
	seen := map[int64]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				relayed, err := store.Relay(ctx, relayAll(0), func(_ context.Context, rows []db.Abandoned) []db.Published {
					mu.Lock()
					defer mu.Unlock()
					published := make([]db.Published, len(rows))
					for i, row := range rows {
						seen[row.ID]++
						published[i].ID = row.ID
					}
					return published
				})
				if err != nil {
					t.Error(err)
					return
				}
				if relayed.Rows == 0 {
					return
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, seen, 40)
	for id, n := range seen {
		require.Equal(t, 1, n, "row %d", id)
	}
}

func TestUnavailableAndBadData(t *testing.T) {
	t.Parallel()
	_, pool := provisioned(t, 0)
	_, err := pool.Exec(t.Context(), "SELECT 1/0")
	require.True(t, db.BadData(err))
	require.False(t, db.Unavailable(err))
	_, err = pool.Exec(t.Context(), "SELECT * FROM nothing")
	require.False(t, db.BadData(err))
	require.True(t, db.Unavailable(err), "a schema that is gone may come back")
	elsewhere := pool.Config().ConnConfig.Copy()
	elsewhere.Database = "nowhere"
	_, err = pgx.ConnectConfig(t.Context(), elsewhere)
	require.True(t, db.Unavailable(err), "so may a database")
	pool.Close()
	err = pool.Ping(t.Context())
	require.True(t, db.Unavailable(err))
	require.False(t, db.BadData(err))
	require.False(t, db.Unavailable(nil))
	require.False(t, db.Unavailable(errors.Join(db.ErrNotFound)))
	require.False(t, db.Unavailable(&db.StateError{Move: message.Cancel, Status: message.Sent}))
}
