package component

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// The pauses between two tries, doubled from the first to the longest.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
)

// Retry calls try until it succeeds, Postgres refuses the data, or ctx is
// over; it returns the last error. A try that has begun is not ended by ctx,
// only by its own time.
func Retry(ctx context.Context, each time.Duration, t *service.FailureTracker, try func(context.Context) error) error {
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), each)
		err := try(once)
		cancel()
		if err == nil || db.BadData(err) {
			t.Report(nil)
			return err
		}
		t.Report(err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(Jitter(wait)):
		}
	}
}

// Rest waits as long as the work took, and no longer than the bound. What
// comes meanwhile is dealt with together: under load, when a batch takes
// long, the batches grow, and each message costs less; a lone message after
// a quiet time waits for nothing.
func Rest(ctx context.Context, took, bound time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(min(took, bound)):
	}
}

// Jitter returns a duration between d/2 and d, so that several dispatchers
// don't do everything at the same moment.
func Jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}
