package outbox

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

// broker stands for NATS and the outbox table.
type broker struct {
	mu        sync.Mutex
	slow      time.Duration
	err       error
	published []string
	deleted   []int64
}

func (b *broker) Publish(ctx context.Context, entries []events.OutboxMessage) error {
	select {
	case <-time.After(b.slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	for _, entry := range entries {
		b.published = append(b.published, entry.MsgID)
	}
	return nil
}

func (b *broker) DeletePublished(_ context.Context, ids []int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deleted = append(b.deleted, ids...)
	return nil
}

// publishAll publishes rows of the given age and stops the publisher. It returns
// how many rows were left to the relay.
func publishAll(b *broker, age time.Duration, rows int) (relayed int) {
	left := prometheus.NewCounter(prometheus.CounterOpts{Name: "relayed"})
	publisher := NewPublisher(b, b, left, zap.NewNop())
	for id := range rows {
		publisher.Enqueue(Row{ID: int64(id + 1), Entries: []events.OutboxMessage{{MsgID: "m"}}, Began: time.Now().Add(-age)})
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = publisher.Run(ctx) }()
	cancel()
	<-ended
	return int(testutil.ToFloat64(left))
}

func TestPublishedRowsAreDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &broker{slow: time.Millisecond}
		require.Zero(t, publishAll(b, 0, 100))
		require.Len(t, b.published, 100)
		slices.Sort(b.deleted)
		require.Len(t, slices.Compact(b.deleted), 100)
	})
}

func TestAnOwnerPublishesInTimeOrNotAtAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		late := &broker{}
		require.Equal(t, 3, publishAll(late, ownerTimeout, 3))
		require.Empty(t, late.published, "the relay publishes it by now")

		slow := &broker{slow: 10 * time.Second}
		began := time.Now()
		require.Equal(t, 3, publishAll(slow, 2*time.Second, 3))
		require.Empty(t, slow.published)
		require.Empty(t, slow.deleted)
		require.Equal(t, ownerTimeout-2*time.Second, time.Since(began))
	})
}

func TestTheQueueIsBoundedWhileNATSIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &broker{err: jetstream.ErrUnavailable}
		require.Equal(t, maxQueued+500, publishAll(b, 0, maxQueued+500))
		require.Empty(t, b.deleted)
	})
}
