package inflight

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func deliveryOf(id message.ID) *deliveries.Delivery { return &deliveries.Delivery{ID: id, First: true} }

func TestAFullSetIsRefilledByTheQuarter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(8)
		require.Equal(t, 8, s.Reserve(t.Context()))
		var held []*Entry
		for range 8 {
			held = append(held, s.Add(deliveryOf(message.NewID(time.Now()))))
		}
		reserved := make(chan int)
		go func() { reserved <- s.Reserve(t.Context()) }()
		s.Remove(held[0])
		synctest.Wait()
		select {
		case n := <-reserved:
			require.Fail(t, "too early", "%d", n)
		default:
		}
		s.Remove(held[1])
		require.Equal(t, 2, <-reserved)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Zero(t, s.Reserve(ctx))

		s.Unreserve(2)
		require.Equal(t, 2, s.Reserve(t.Context()), "what nothing has taken is free again")
	})
}

func TestASmallSetTakesOneAtATime(t *testing.T) {
	t.Parallel()
	s := NewSet(2)
	require.Equal(t, 2, s.Reserve(t.Context()))
	s.Unreserve(1)
	require.Equal(t, 1, s.Reserve(t.Context()))
}

func TestWhatIsReturnedIsNotBegun(t *testing.T) {
	t.Parallel()
	s := NewSet(8)
	require.Equal(t, 8, s.Reserve(t.Context()))
	sending, waiting := s.Add(deliveryOf(message.NewID(time.Now()))), s.Add(deliveryOf(message.NewID(time.Now())))
	require.True(t, s.Begin(sending))
	require.Equal(t, []*Entry{waiting}, s.TakeWaiting())
	require.False(t, s.Begin(waiting))
	require.Equal(t, 1, s.Len())
}

func TestASecondDeliveryIsUnverifiedWhileTheFirstIsHeld(t *testing.T) {
	t.Parallel()
	s := NewSet(8)
	require.Equal(t, 8, s.Reserve(t.Context()))
	id := message.NewID(time.Now())
	first, second := s.Add(deliveryOf(id)), s.Add(deliveryOf(id))
	require.False(t, first.Unverified())
	require.True(t, second.Unverified())
	require.True(t, second.HasPredecessor())

	ended, end := context.WithCancel(t.Context())
	end()
	require.False(t, second.AwaitPredecessor(ended))
	require.True(t, second.HasPredecessor())

	s.Remove(first)
	require.True(t, second.AwaitPredecessor(t.Context()))
	require.False(t, second.HasPredecessor())
	s.Remove(second)
	require.False(t, s.Add(deliveryOf(id)).Unverified())
}

func TestPayloadsCountWhileTheyAreHeld(t *testing.T) {
	t.Parallel()
	s := NewSet(8)
	require.Equal(t, 8, s.Reserve(t.Context()))
	d, other := s.Add(deliveryOf(message.NewID(time.Now()))), s.Add(deliveryOf(message.NewID(time.Now())))
	s.SetPayload(d, 5)
	s.SetPayload(other, 3)
	s.Remove(d)
	require.EqualValues(t, 3, s.PayloadBytes())
	s.Remove(other)
	require.Zero(t, s.PayloadBytes())
}
