package db_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestCountsAreExactAfterAStorm(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, pool := provisioned(t, 0)
	var seeded []message.ID
	for range 4 {
		stored, _, err := store.Insert(ctx, drafts(50), box)
		require.NoError(t, err)
		for _, s := range stored {
			seeded = append(seeded, s.Message.ID)
		}
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 60 {
				// What a move is refused for, or a deadlock that undoes it, is
				// part of the storm.
				storm(ctx, store, random, seeded[random.IntN(len(seeded))])
			}
		})
	}
	wg.Go(func() {
		for range 40 {
			if err := store.FoldCounts(ctx); err != nil && !db.Unavailable(err) {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	exec(t, pool, "DELETE FROM messages WHERE id = $1", seeded[0])

	for range 2 { // before a last fold, and after
		overview, err := store.Overview(ctx)
		require.NoError(t, err)
		for _, status := range message.Statuses() {
			var n int64
			require.NoError(t, pool.QueryRow(ctx, "SELECT count(*) FROM messages WHERE status = $1::text::message_status", string(status)).Scan(&n))
			require.Equal(t, n, overview.Counts[status], status)
		}
		require.NoError(t, store.FoldCounts(ctx))
	}
}

// storm makes one move of some kind.
func storm(ctx context.Context, store *db.Store, random *rand.Rand, id message.ID) {
	m, err := store.Get(ctx, id)
	if err != nil {
		return
	}
	switch random.IntN(7) {
	case 0, 1:
		tick, err := store.Tick(ctx, tickParams(5))
		if err == nil && tick.OutboxID != 0 {
			_ = store.FinishClaim(ctx, tick.OutboxID, tick.Size())
		}
	case 2:
		_, _, _ = store.Cancel(ctx, id, box)
	case 3:
		_, _ = store.Retry(ctx, id, nil)
	case 4:
		_, _, _ = store.Insert(ctx, drafts(3), box)
	default:
		moves := []message.Move{message.Succeed, message.Defer, message.Fail, message.Lapse}
		o := outcome(m, moves[random.IntN(len(moves))])
		_, _ = store.Record(ctx, []db.Outcome{o, o}, time.Minute)
	}
}
