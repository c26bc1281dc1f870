package outcome

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// PublishTimeout is how long publishing a group may take. What is not
// acknowledged by then counts as an outage.
const PublishTimeout = 3 * time.Second

// maxPublishPause bounds the pause after a group, which otherwise lasts as long
// as its publication. Under load the next group is larger for it, and a single
// event after a quiet time waits for nothing.
const maxPublishPause = 2 * time.Millisecond

// stream publishes events, waits for their acknowledgement and returns those
// that had none. jetstream.Publisher implements it over NATS.
type stream interface {
	PublishSome(ctx context.Context, entries []events.OutboxMessage) (missing []events.OutboxMessage, err error)
}

// Publisher publishes the workers' events in groups: all that arrive
// while one group is being published form the next. Publish is safe for
// concurrent use while Run works.
type Publisher struct {
	stream stream
	queue  chan publication
}

// publication is one worker's event.
type publication struct {
	event  events.OutboxMessage
	result chan error
}

// NewPublisher returns a publisher for n workers.
func NewPublisher(s stream, n int) *Publisher {
	return &Publisher{stream: s, queue: make(chan publication, n)}
}

// Publish returns once the event is acknowledged, or could not be published;
// it may be stored nevertheless. The end of ctx is an error too.
func (p *Publisher) Publish(ctx context.Context, event events.OutboxMessage) error {
	mine := publication{event, make(chan error, 1)}
	select {
	case p.queue <- mine:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-mine.result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run publishes until ctx ends.
func (p *Publisher) Run(ctx context.Context) {
	var all service.Batch[publication] // without bounds
	for group := all.Gather(ctx, p.queue); group != nil; group = all.Gather(ctx, p.queue) {
		began := time.Now()
		p.publish(ctx, group)
		service.Sleep(ctx, min(time.Since(began), maxPublishPause))
	}
}

// publish gives each worker its own result: an event that NATS rejects holds up
// no other.
func (p *Publisher) publish(ctx context.Context, group []publication) {
	ctx, cancel := context.WithTimeout(ctx, PublishTimeout)
	defer cancel()
	entries := make([]events.OutboxMessage, len(group))
	for i, one := range group {
		entries[i] = one.event
	}
	missing, err := p.stream.PublishSome(ctx, entries)
	unpublished := make(map[string]error, len(missing))
	for _, entry := range missing {
		unpublished[entry.MsgID] = err
	}
	for _, one := range group {
		one.result <- unpublished[one.event.MsgID]
	}
}
