package sender

import (
	"context"
	"fmt"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
)

const pullPause = 250 * time.Millisecond // after a pull that failed

// pull takes ids off the queue while there is room for them and nothing is
// away, until ctx ends. It returns only when every id that the server has
// sent is in hand.
func (s *sender) pull(ctx context.Context) {
	for s.eventsAway.wait(ctx) && s.postgresAway.wait(ctx) {
		n := s.hand.room(ctx)
		if n == 0 {
			return
		}
		err := s.unheld()
		if err == nil {
			err = s.queue.Fetch(ctx, n, s.arrive)
		}
		if ctx.Err() == nil {
			s.pulling.Report(err)
		}
		if err != nil {
			pause(ctx, pullPause)
		}
	}
}

// unheld is an error when the server would not wait for as long as a request
// may take: no request could be begun.
func (s *sender) unheld() error {
	if s.queue.Outlasts(s.webhook.longest()) {
		return nil
	}
	return fmt.Errorf("the ack wait of the senders' consumer is %s, too short for WEBHOOK_TIMEOUT=%s; %s",
		s.queue.AckWait(), s.webhook.timeout, provisionHint)
}

// arrive sorts a copy. The channels hold a whole hand, so it never waits.
func (s *sender) arrive(c *events.Copy) {
	it := s.hand.take(c)
	failpoint.At(failpoint.SenderPulled)
	if it.doubtful() {
		s.doubtful <- it
		return
	}
	s.fresh <- it
}

// gather waits for the first item and takes all that are there by then: a
// lone one waits for nobody, and a crowd is one batch. It is nil when ctx
// ends.
func gather[T any](ctx context.Context, from <-chan T) []T {
	var batch []T
	select {
	case first := <-from:
		batch = append(batch, first)
	case <-ctx.Done():
		return nil
	}
	for {
		select {
		case next := <-from:
			batch = append(batch, next)
		default:
			return batch
		}
	}
}
