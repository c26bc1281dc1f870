package backpressure

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

// server stands for what the NATS server says.
type server func() (int, error)

func (s server) Unacked(context.Context) (int, error) { return s() }

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
			b := NewNakBudget(server(func() (int, error) {
				time.Sleep(time.Millisecond) // of the bubble: the way there and back
				return int(unacked.Load()), nil
			}))
			running.Go(func() { b.Run(ctx) })
			running.Go(func() {
				for range 20_000 { // of failures, in 20 s
					if b.Take(ShortWait) {
						unacked.Add(1)
						time.AfterFunc(ShortWait, func() { unacked.Add(-1) })
					}
					time.Sleep(time.Millisecond)
					if ctx.Err() != nil {
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
		b := NewNakBudget(server(func() (int, error) { return 0, fails }))
		require.False(t, b.Take(time.Second), "the server was not asked yet")
		taken := 0
		for range 2 * maxNaks {
			b.Ask(t.Context())
			require.False(t, b.Take(ShortWait+1), "too long")
			if b.Take(ShortWait) {
				taken++
			}
		}
		require.Equal(t, maxNaks, taken)
		time.Sleep(ShortWait) // of the bubble
		synctest.Wait()
		require.True(t, b.Take(ShortWait), "they are due")
		fails = errors.New("away")
		b.Ask(t.Context())
		require.False(t, b.Take(ShortWait))
	})
}
