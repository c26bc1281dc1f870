package sender

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func copyOf(id message.ID) *events.Copy { return &events.Copy{ID: id, First: true} }

func TestAFullHandIsRefilledByTheQuarter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHand(8)
		require.Equal(t, 8, h.room(t.Context()))
		var items []*item
		for range 8 {
			items = append(items, h.take(copyOf(message.NewID(time.Now()))))
		}
		room := make(chan int)
		go func() { room <- h.room(t.Context()) }()
		h.drop(items[0])
		synctest.Wait()
		select {
		case n := <-room:
			require.Fail(t, "too early", "%d", n)
		default:
		}
		h.drop(items[1])
		require.Equal(t, 2, <-room)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		h.take(copyOf(message.NewID(time.Now())))
		require.Zero(t, h.room(ctx))
	})
}

func TestWhatIsGivenBackIsNotBegun(t *testing.T) {
	t.Parallel()
	h := newHand(8)
	flying, waiting := h.take(copyOf(message.NewID(time.Now()))), h.take(copyOf(message.NewID(time.Now())))
	require.True(t, h.begin(flying))
	require.Equal(t, []*item{waiting}, h.waiting())
	require.False(t, h.begin(waiting))
	require.Equal(t, 1, h.size())
}

func TestASecondCopyIsDoubtfulAsLongAsTheFirstIsInHand(t *testing.T) {
	t.Parallel()
	h := newHand(8)
	id := message.NewID(time.Now())
	first, second := h.take(copyOf(id)), h.take(copyOf(id))
	require.False(t, first.doubtful())
	require.True(t, second.doubtful())
	require.Equal(t, first, second.elder)
	h.drop(first)
	<-second.elder.gone
	h.drop(second)
	require.False(t, h.take(copyOf(id)).doubtful())
}

func TestAnOutageIsOverWhenEverybodySaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var o outage
		require.True(t, o.wait(t.Context()))
		require.True(t, o.begin())
		require.False(t, o.begin())
		over := false
		go func() { over = o.wait(t.Context()) }()
		require.False(t, o.end())
		synctest.Wait()
		require.False(t, over)
		require.True(t, o.end())
		synctest.Wait()
		require.True(t, over)
	})
}
