package dispatcher

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
)

// The pauses between two tries, doubled from the first to the longest.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
)

// persist calls try until it succeeds, Postgres refuses the data, or ctx is
// over; it returns the last error. A try that has begun is not ended by ctx,
// only by its own time.
func persist(ctx context.Context, each time.Duration, t *trouble, try func(context.Context) error) error {
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), each)
		err := try(once)
		cancel()
		if err == nil || db.BadData(err) {
			t.is(nil)
			return err
		}
		t.is(err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(jitter(wait)):
		}
	}
}
