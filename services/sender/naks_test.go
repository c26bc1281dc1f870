package sender

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// maxAckPending is what the server hands out to all senders together.
const maxAckPending = 20_000

// All senders' naks are deliveries that the server counts as unacknowledged.
// Were they as many as it hands out, no fresh message would go out until one
// of them is due.
func TestTheNaksOfManySendersLeaveRoomForFreshMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var unacked atomic.Int64
		most := int64(0)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for range 20 {
			b := newNakBudget(func(context.Context) (int, error) {
				time.Sleep(time.Millisecond) // of the bubble: the way there and back
				return int(unacked.Load()), nil
			})
			running.Go(func() { b.run(ctx) })
			running.Go(func() {
				for range 20_000 { // of failures, in 20 s
					if b.take(shortWait) {
						unacked.Add(1)
						time.AfterFunc(shortWait, func() { unacked.Add(-1) })
					}
					if !pause(ctx, time.Millisecond) {
						return
					}
				}
			})
		}
		for range 20_000 {
			time.Sleep(time.Millisecond)
			most = max(most, unacked.Load())
		}
		cancel()
		running.Wait()
		require.LessOrEqual(t, most, int64(maxUnacked+20*nakGrant))
		require.Less(t, most, int64(maxAckPending*3/4))
		require.Greater(t, most, int64(maxUnacked*9/10), "and what there is room for is used")
	})
}

func TestASenderTakesOnlySoManyNaks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fails error
		b := newNakBudget(func(context.Context) (int, error) { return 0, fails })
		require.False(t, b.take(time.Second), "the server was not asked yet")
		taken := 0
		for range 2 * maxNaks {
			b.look(t.Context())
			require.False(t, b.take(shortWait+1), "too long")
			if b.take(shortWait) {
				taken++
			}
		}
		require.Equal(t, maxNaks, taken)
		time.Sleep(shortWait) // of the bubble
		synctest.Wait()
		require.True(t, b.take(shortWait), "they are due")
		fails = errors.New("away")
		b.look(t.Context())
		require.False(t, b.take(shortWait))
	})
}
