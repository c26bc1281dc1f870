package outcome

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
)

var errRefused = errors.New("too large")

// broker takes its time to acknowledge, group by group.
type broker struct {
	slow    time.Duration
	refuses func(id string) bool
	groups  [][]string // by Msg-Id
}

func (b *broker) PublishSome(ctx context.Context, entries []events.OutboxMessage) (missing []events.OutboxMessage, err error) {
	select {
	case <-time.After(b.slow):
	case <-ctx.Done():
		return entries, ctx.Err()
	}
	var group []string
	for _, entry := range entries {
		group = append(group, entry.MsgID)
		if b.refuses != nil && b.refuses(entry.MsgID) {
			missing, err = append(missing, entry), errRefused
		}
	}
	b.groups = append(b.groups, group)
	return missing, err
}

// publishAll has n callers publish at the same time, and returns the result of
// each.
func publishAll(p *Publisher, n int) []error {
	results := make([]error, n)
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() { results[i] = p.Publish(context.Background(), events.OutboxMessage{MsgID: strconv.Itoa(i)}) })
	}
	calls.Wait()
	return results
}

// working runs a publisher in a bubble of its own.
func working(t *testing.T, b *broker, test func(*testing.T, *Publisher)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := NewPublisher(b, 100)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { p.Run(ctx) })
		test(t, p)
		cancel()
		running.Wait()
	})
}

func TestEventsThatComeTogetherArePublishedTogether(t *testing.T) {
	b := &broker{slow: time.Second}
	working(t, b, func(t *testing.T, p *Publisher) {
		began := time.Now()
		for _, err := range publishAll(p, 100) {
			require.NoError(t, err)
		}
		require.LessOrEqual(t, time.Since(began), 2*time.Second+maxPublishPause, "those that come while a group is published are one group")
		published := map[string]bool{}
		for _, group := range b.groups {
			for _, id := range group {
				require.False(t, published[id], id)
				published[id] = true
			}
		}
		require.Len(t, published, 100)
	})
}

func TestASingleEventIsPublishedAtOnce(t *testing.T) {
	b := &broker{slow: time.Millisecond}
	working(t, b, func(t *testing.T, p *Publisher) {
		for range 3 {
			began := time.Now()
			require.NoError(t, p.Publish(t.Context(), events.OutboxMessage{}))
			require.Equal(t, b.slow, time.Since(began))
			time.Sleep(maxPublishPause) // a quiet time, by the bubble's clock: nothing waits in truth
		}
	})
}

func TestAnEventThatIsRejectedHoldsUpNoOther(t *testing.T) {
	b := &broker{slow: time.Second, refuses: func(id string) bool { return id == "7" }}
	working(t, b, func(t *testing.T, p *Publisher) {
		for n, err := range publishAll(p, 10) {
			if n == 7 {
				require.ErrorIs(t, err, errRefused)
				continue
			}
			require.NoError(t, err)
		}
	})
}

func TestWhatIsNotAcknowledgedIsNotPublished(t *testing.T) {
	b := &broker{slow: time.Hour}
	working(t, b, func(t *testing.T, p *Publisher) {
		began := time.Now()
		require.ErrorIs(t, p.Publish(t.Context(), events.OutboxMessage{}), context.DeadlineExceeded)
		require.Equal(t, PublishTimeout, time.Since(began))

		ending, end := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, end)
		require.ErrorIs(t, p.Publish(ending, events.OutboxMessage{}), context.Canceled, "a caller waits no longer than it may")
	})
}
