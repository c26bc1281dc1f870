package sender

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/events"
)

const (
	// publishTry is how long a group is published; what is unanswered by then
	// counts as an outage.
	publishTry = 3 * time.Second
	// maxTellRest bounds the rest after a group, which is as long as its
	// publication took: under load each is for more entries then, and a lone
	// one after a quiet time waits for nothing.
	maxTellRest = 2 * time.Millisecond
)

// publisher publishes entries, waits for their acknowledgement and returns
// those that had none; events.Publisher is the one.
type publisher interface {
	PublishSome(ctx context.Context, entries []events.Entry) (missing []events.Entry, err error)
}

// teller publishes what the workers have to tell in groups: all that comes
// while one is on its way goes into the next together. Tell is safe for
// concurrent use while Run works.
type teller struct {
	publisher publisher
	queue     chan telling
}

// telling is one worker's entry.
type telling struct {
	entry events.Entry
	done  chan error
}

// newTeller returns a teller for so many callers at a time.
func newTeller(p publisher, callers int) *teller {
	return &teller{publisher: p, queue: make(chan telling, callers)}
}

// Tell returns once the entry is acknowledged, or could not be published; it
// may be stored then all the same. The end of ctx is an error too.
func (t *teller) Tell(ctx context.Context, entry events.Entry) error {
	mine := telling{entry, make(chan error, 1)}
	select {
	case t.queue <- mine:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-mine.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run publishes until ctx ends.
func (t *teller) Run(ctx context.Context) {
	for group := gather(ctx, t.queue); group != nil; group = gather(ctx, t.queue) {
		began := time.Now()
		t.publish(ctx, group)
		pause(ctx, min(time.Since(began), maxTellRest))
	}
}

// publish answers each caller by itself: one whose entry NATS refuses holds up
// no other.
func (t *teller) publish(ctx context.Context, group []telling) {
	ctx, cancel := context.WithTimeout(ctx, publishTry)
	defer cancel()
	entries := make([]events.Entry, len(group))
	for i, one := range group {
		entries[i] = one.entry
	}
	missing, err := t.publisher.PublishSome(ctx, entries)
	untold := make(map[string]error, len(missing))
	for _, entry := range missing {
		untold[entry.MsgID] = err
	}
	for _, one := range group {
		one.done <- untold[one.entry.MsgID]
	}
}
