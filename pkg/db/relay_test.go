package db_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func relayAll(after int64) db.RelayParams {
	return db.RelayParams{After: after, MaxRetryAfter: time.Minute, Limit: 10}
}

func TestWhatIsRelayedIsGoneAndTheRestStays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, _ := provisioned(t, 0)
	for range 3 {
		insert(t, store)
	}
	var seen []int64
	relayed, err := store.Relay(ctx, relayAll(0), func(_ context.Context, rows []db.OutboxRow) []db.RelayResult {
		for _, row := range rows {
			require.Equal(t, "1 moved", string(row.Batch))
			seen = append(seen, row.ID)
		}
		return []db.RelayResult{{ID: rows[0].ID}, {ID: rows[2].ID}}
	})
	require.NoError(t, err)
	require.Equal(t, db.RelayPage{Rows: 3, Last: seen[2]}, relayed)

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

func TestTheRestOfARowIsTriedAgainWhenItIsTime(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, pool := provisioned(t, 0)
	insert(t, store)
	keep := func(rest string, again time.Duration) (seen int) {
		_, err := store.Relay(ctx, relayAll(0), func(_ context.Context, rows []db.OutboxRow) []db.RelayResult {
			seen = len(rows)
			return []db.RelayResult{{ID: rows[0].ID, Remaining: []byte(rest), RetryAfter: again}}
		})
		require.NoError(t, err)
		return seen
	}
	require.Equal(t, 1, keep("some", 0))
	require.Equal(t, 1, keep("less", time.Minute), "at once")
	require.Zero(t, keep("", 0), "in a minute")
	exec(t, pool, "UPDATE outbox SET not_before = not_before - interval '1 minute'")
	require.Equal(t, 1, keep("least", time.Minute), "a minute later")
	exec(t, pool, "UPDATE outbox SET not_before = not_before + interval '1 hour'")
	require.Equal(t, 1, keep("nothing", time.Minute), "after Postgres' clock was set back by an hour")
}

// claimTick makes a claim of one message and leaves it open.
func claimTick(t *testing.T, interval time.Duration) (*db.Store, *pgxpool.Pool, message.Message, db.TickResult) {
	t.Helper()
	store, pool := provisioned(t, interval)
	m := insert(t, store)
	exec(t, pool, "DELETE FROM outbox")
	tick, err := store.Tick(t.Context(), tickParams(10))
	require.NoError(t, err)
	require.Equal(t, 1, tick.Size())
	return store, pool, m, tick
}

// rewritten counts what a relay has raised, and stands for a batch with that.
func rewritten(_ []byte, raised map[message.ID]message.ClaimNumber) db.RewrittenClaim {
	return db.RewrittenClaim{Batch: fmt.Appendf(nil, "%d raised", len(raised)), IDs: len(raised), Size: 1}
}

// take takes every claim that is open, as a relay does that found these
// emissions nowhere.
func take(t *testing.T, store *db.Store, absent ...db.Delivery) []db.OpenClaim {
	t.Helper()
	claims, err := store.AbandonedClaims(t.Context(), 0, 10)
	require.NoError(t, err)
	taken, err := store.TakeOverClaims(t.Context(), claims, db.TakeOverParams{Lease: lease, Unpublished: absent, Rewrite: rewritten})
	require.NoError(t, err)
	return taken
}

func TestARelayTakesAClaimNumberOfItsOwn(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, pool, m, tick := claimTick(t, time.Hour)
	exec(t, pool, "UPDATE messages SET lease_until = clock_timestamp() - interval '1 second'")

	first := take(t, store, db.Delivery{ID: m.ID, ClaimNumber: 1})
	require.Len(t, first, 1)
	require.Equal(t, "1 raised", string(first[0].Batch))
	require.EqualValues(t, 3, get(t, store, m.ID).ClaimNumber, "the number between is a sender's")
	lost, err := store.ExpiredLeases(ctx, db.ExpiredLease{}, 10)
	require.NoError(t, err)
	require.Empty(t, lost, "the lease runs from the relay")

	second := take(t, store, db.Delivery{ID: m.ID, ClaimNumber: 3})
	require.Len(t, second, 1)
	require.EqualValues(t, 5, get(t, store, m.ID).ClaimNumber, "a second relay does not use the number of the first")

	require.NoError(t, store.FinishClaim(ctx, tick.OutboxID, 99), "its owner comes late")
	require.NoError(t, store.FinishRelayedClaims(ctx, []db.FinishedClaim{{OutboxID: tick.OutboxID, Relays: 1, Size: 1}}), "so does the first relay")
	require.Len(t, unpublished(t, store), 1)
	require.NoError(t, store.FinishRelayedClaims(ctx, []db.FinishedClaim{{OutboxID: tick.OutboxID, Relays: 2, Size: 1}}))
	require.Empty(t, unpublished(t, store))
	pace, err := store.Pace(ctx)
	require.NoError(t, err)
	require.False(t, pace.ClaimOpen)
	require.InDelta(t, time.Hour, pace.Wait, float64(time.Minute))
	overview, err := store.Overview(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, overview.LastBatch)
}

func unpublished(t *testing.T, store *db.Store) []db.UnpublishedClaim {
	t.Helper()
	claims, err := store.UnpublishedClaims(t.Context(), 0)
	require.NoError(t, err)
	return claims
}

func TestAClaimIsItsRelaysForAWhile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, pool, m, _ := claimTick(t, time.Hour)
	claims, err := store.AbandonedClaims(ctx, time.Minute, 10)
	require.NoError(t, err)
	require.Empty(t, claims, "its owner still has time")
	exec(t, pool, "UPDATE outbox SET created_at = created_at - interval '1 minute'")
	claims, err = store.AbandonedClaims(ctx, time.Minute, 10)
	require.NoError(t, err)
	require.Len(t, claims, 1)
	params := db.TakeOverParams{Age: time.Minute, Lease: lease, Unpublished: []db.Delivery{{ID: m.ID, ClaimNumber: 1}}, Rewrite: rewritten}
	taken, err := store.TakeOverClaims(ctx, claims, params)
	require.NoError(t, err)
	require.Len(t, taken, 1)

	taken, err = store.TakeOverClaims(ctx, claims, params)
	require.NoError(t, err)
	require.Empty(t, taken, "another relay that looked at the same time comes second")
	require.EqualValues(t, 3, get(t, store, m.ID).ClaimNumber)
	claims, err = store.AbandonedClaims(ctx, time.Minute, 10)
	require.NoError(t, err)
	require.Empty(t, claims)
	exec(t, pool, "UPDATE outbox SET not_before = not_before + interval '1 hour'")
	claims, err = store.AbandonedClaims(ctx, time.Minute, 10)
	require.NoError(t, err)
	require.Len(t, claims, 1, "after Postgres' clock was set back by an hour")
}

func TestAClaimOfWhichEverythingWasPublishedEndsAndItsEventsAreKept(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, pool, m, _ := claimTick(t, time.Hour)
	require.Empty(t, take(t, store), "its id is on the work queue")
	require.EqualValues(t, 1, get(t, store, m.ID).ClaimNumber)
	pace, err := store.Pace(ctx)
	require.NoError(t, err)
	require.False(t, pace.ClaimOpen)
	exec(t, pool, "UPDATE outbox SET created_at = created_at - interval '1 minute'")
	_, err = store.Relay(ctx, relayAll(0), func(_ context.Context, rows []db.OutboxRow) []db.RelayResult {
		require.Len(t, rows, 1)
		require.Equal(t, "0 raised", string(rows[0].Batch))
		return nil
	})
	require.NoError(t, err)
}

// A delivery under the number before may have reached a sender just before a
// relay raised it.
func TestWhatCameOfTheDeliveryThatARelayGaveUpIsRecorded(t *testing.T) {
	t.Parallel()
	for _, move := range []message.Transition{message.Succeed, message.Reschedule, message.Fail} {
		t.Run(move.Name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			store, _, m, _ := claimTick(t, 0)
			take(t, store, db.Delivery{ID: m.ID, ClaimNumber: 1})
			take(t, store, db.Delivery{ID: m.ID, ClaimNumber: 3})
			original := db.Outcome{
				ID: m.ID, Transition: move, Version: 3, ClaimNumber: 1, NextClaimNumber: 2, DeliveryCount: 1, Attempts: 1, EndedAt: time.Now(),
				NextAttemptAt: time.Now().Add(time.Minute), Attempt: &message.Attempt{Number: 1, StartedAt: time.Now(), Outcome: message.OutcomeRetry},
			}

			moved, err := store.Record(ctx, []db.Outcome{original}, lease)
			require.NoError(t, err)

			require.Equal(t, 1, moved)
			got := get(t, store, m.ID)
			require.Equal(t, move.To, got.Status)
			require.Equal(t, 1, got.Attempts)
			require.EqualValues(t, 5, got.ClaimNumber, "no number is used twice")
			original.Attempts, original.Attempt = 2, nil
			moved, err = store.Record(ctx, []db.Outcome{original}, lease)
			require.NoError(t, err)
			if move.Name != message.Succeed.Name {
				require.Zero(t, moved, "only up to the first outcome")
			}
		})
	}
}

func TestAClaimWhoseOutboxRowIsGoneIsClosed(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{0, time.Hour} {
		t.Run(interval.String(), func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			store, pool, _, tick := claimTick(t, interval)
			closed, err := store.CloseLostClaim(ctx)
			require.NoError(t, err)
			require.False(t, closed, "its row is there")
			pace, err := store.Pace(ctx)
			require.NoError(t, err)
			require.True(t, pace.ClaimOpen)
			require.False(t, pace.ClaimLost)

			exec(t, pool, "DELETE FROM outbox WHERE id = $1", tick.OutboxID)
			pace, err = store.Pace(ctx)
			require.NoError(t, err)
			require.True(t, pace.ClaimLost)
			closed, err = store.CloseLostClaim(ctx)
			require.NoError(t, err)
			require.True(t, closed)

			pace, err = store.Pace(ctx)
			require.NoError(t, err)
			require.False(t, pace.ClaimOpen)
			require.InDelta(t, interval, pace.Wait, float64(time.Minute), "its ids may have been emitted just now")
			shorter := time.Minute
			require.NoError(t, store.Configure(ctx, &shorter, nil))
			pace, err = store.Pace(ctx)
			require.NoError(t, err)
			require.LessOrEqual(t, pace.Wait, shorter)
			again, err := store.CloseLostClaim(ctx)
			require.NoError(t, err)
			require.False(t, again)
		})
	}
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
				relayed, err := store.Relay(ctx, relayAll(0), func(_ context.Context, rows []db.OutboxRow) []db.RelayResult {
					mu.Lock()
					defer mu.Unlock()
					published := make([]db.RelayResult, len(rows))
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
	require.True(t, dbpool.BadData(err))
	require.False(t, dbpool.Unavailable(err))
	_, err = pool.Exec(t.Context(), "SELECT * FROM nothing")
	require.False(t, dbpool.BadData(err))
	require.True(t, dbpool.Unavailable(err), "a schema that is gone may come back")
	elsewhere := pool.Config().ConnConfig.Copy()
	elsewhere.Database = "nowhere"
	_, err = pgx.ConnectConfig(t.Context(), elsewhere)
	require.True(t, dbpool.Unavailable(err), "so may a database")
	pool.Close()
	err = pool.Ping(t.Context())
	require.True(t, dbpool.Unavailable(err))
	require.False(t, dbpool.BadData(err))
	require.False(t, dbpool.Unavailable(nil))
	require.False(t, dbpool.Unavailable(errors.Join(db.ErrNotFound)))
	require.False(t, dbpool.Unavailable(&db.StateError{Transition: message.Cancel, Status: message.Sent}))
}
