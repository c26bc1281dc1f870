package events

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/crash"
)

// ErrUnavailable means that NATS did not confirm a publish in time. Whether
// the message was stored is unknown; repeating it with the same Msg-Id is
// harmless within the stream's window.
var ErrUnavailable = errors.New("NATS does not answer")

// Full reports whether err says that JetStream has no room: a stream at its
// limit, an account or a server at theirs. What was to be published is not at
// fault.
func Full(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) && refused.Code == http.StatusServiceUnavailable
}

// publishWait bounds one publish: one that dies with its server is never
// answered.
const publishWait = 2 * time.Second

// publishPause lies between two rounds, so that a server which refuses at
// once is not hammered.
const publishPause = 100 * time.Millisecond

// Publisher publishes entries. It is safe for concurrent use.
type Publisher struct {
	js jetstream.JetStream
	nc *nats.Conn
}

// NewPublisher returns a Publisher over a connection.
func NewPublisher(js jetstream.JetStream) Publisher {
	return Publisher{js: js, nc: js.Conn()}
}

// Publish publishes the entries in order and returns when every one is
// acknowledged. It tries each for 2 s, again and again until ctx ends, and
// then returns ErrUnavailable; entries may have been stored all the same.
// Without a connection it returns ErrUnavailable at once.
func (p Publisher) Publish(ctx context.Context, entries []Entry) error {
	_, err := p.PublishSome(ctx, entries)
	return err
}

// PublishSome is Publish that tells which entries an error is about: those
// that were not acknowledged.
func (p Publisher) PublishSome(ctx context.Context, entries []Entry) (missing []Entry, err error) {
	missing = entries
	var cause error
	for {
		if !p.nc.IsConnected() {
			return missing, fmt.Errorf("publish %d entries: %w", len(missing), ErrUnavailable)
		}
		missing, err = p.publishOnce(ctx, missing)
		if len(missing) == 0 {
			return nil, nil
		}
		if cause == nil || !errors.Is(err, context.DeadlineExceeded) { // a refusal says more than that time is up
			cause = err
		}
		select {
		case <-ctx.Done():
			return missing, fmt.Errorf("publish %d entries: %w: %w", len(missing), ErrUnavailable, cause)
		case <-time.After(publishPause):
		}
	}
}

// publishOnce publishes every entry and returns those that were not
// acknowledged, with the last error.
func (p Publisher) publishOnce(whole context.Context, entries []Entry) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(whole, publishWait)
	defer cancel()

	futures := make([]jetstream.PubAckFuture, 0, len(entries))
	var lastErr error
	for _, entry := range entries {
		if passed(whole) || passed(ctx) {
			lastErr = context.DeadlineExceeded
			break
		}
		future, err := p.js.PublishMsgAsync(entry.msg())
		if err != nil {
			lastErr = err
			break
		}
		futures = append(futures, future)
		crash.At(crash.PublishPartSent)
	}
	missing := append([]Entry(nil), entries[len(futures):]...)
	for i, future := range futures {
		select {
		case <-future.Ok():
			crash.At(crash.PublishPartAcked)
		case err := <-future.Err():
			lastErr = err
			missing = append(missing, entries[i])
		case <-ctx.Done():
			lastErr = ctx.Err()
			missing = append(missing, entries[i])
		}
	}
	return missing, lastErr
}

// passed reports whether ctx's deadline is over. It asks the clocks: in a
// process that stood still, ctx itself learns of it a moment too late, and
// nothing may be published that somebody else has relayed meanwhile.
func passed(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && over(deadline, time.Now())
}

// over reports whether a time is over by either of a machine's clocks. Go
// compares times by the one that can't be set; but that one stands still while
// the machine sleeps, and others have gone on meanwhile.
func over(deadline, now time.Time) bool {
	return !now.Before(deadline) || !now.Round(0).Before(deadline.Round(0))
}
