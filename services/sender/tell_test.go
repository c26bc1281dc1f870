package sender

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

// broker takes its time for what it is given, group by group.
type broker struct {
	slow    time.Duration
	refuses func(id string) bool
	groups  [][]string // by Msg-Id
}

func (b *broker) PublishSome(ctx context.Context, entries []events.Entry) (missing []events.Entry, err error) {
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

// tellAll has so many callers tell something at the same time, and returns
// what each was answered.
func tellAll(t *teller, callers int) []error {
	answers := make([]error, callers)
	var telling sync.WaitGroup
	for n := range callers {
		telling.Go(func() { answers[n] = t.Tell(context.Background(), events.Entry{MsgID: strconv.Itoa(n)}) })
	}
	telling.Wait()
	return answers
}

// working runs a teller in a bubble of its own.
func working(t *testing.T, b *broker, test func(*testing.T, *teller)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tells := newTeller(b, 100)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { tells.Run(ctx) })
		test(t, tells)
		cancel()
		running.Wait()
	})
}

func TestWhatIsToldTogetherIsPublishedTogether(t *testing.T) {
	b := &broker{slow: time.Second}
	working(t, b, func(t *testing.T, tells *teller) {
		began := time.Now()
		for _, err := range tellAll(tells, 100) {
			require.NoError(t, err)
		}
		require.LessOrEqual(t, time.Since(began), 2*time.Second+maxTellRest, "those that come while a group is published are one group")
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

func TestOneAloneIsPublishedAtOnce(t *testing.T) {
	b := &broker{slow: time.Millisecond}
	working(t, b, func(t *testing.T, tells *teller) {
		for range 3 {
			began := time.Now()
			require.NoError(t, tells.Tell(t.Context(), events.Entry{}))
			require.Equal(t, b.slow, time.Since(began))
			time.Sleep(maxTellRest) // a quiet time, by the bubble's clock: nothing waits in truth
		}
	})
}

func TestWhatIsRefusedHoldsUpNoOther(t *testing.T) {
	b := &broker{slow: time.Second, refuses: func(id string) bool { return id == "7" }}
	working(t, b, func(t *testing.T, tells *teller) {
		for n, err := range tellAll(tells, 10) {
			if n == 7 {
				require.ErrorIs(t, err, errRefused)
				continue
			}
			require.NoError(t, err)
		}
	})
}

func TestWhatIsNotAnsweredIsNotTold(t *testing.T) {
	b := &broker{slow: time.Hour}
	working(t, b, func(t *testing.T, tells *teller) {
		began := time.Now()
		require.ErrorIs(t, tells.Tell(t.Context(), events.Entry{}), context.DeadlineExceeded)
		require.Equal(t, publishTry, time.Since(began))

		ending, end := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, end)
		require.ErrorIs(t, tells.Tell(ending, events.Entry{}), context.Canceled, "a caller waits no longer than it may")
	})
}
