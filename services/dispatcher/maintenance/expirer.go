package maintenance

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
	"github.com/message-dispatcher/dispatch/services/dispatcher/outbox"
)

const (
	// expireEvery is how often the expirer looks for messages to expire.
	expireEvery = time.Second
	// expireBatch is how many messages it expires at once.
	expireBatch = 1000
)

// Expirer expires waiting messages whose expiresAt has passed. A message that
// is on the work queue is expired by its sender. The Expirer works without
// NATS.
type Expirer struct {
	component.Base
	outbox   outbox.Publisher
	expired  prometheus.Counter
	failures *service.FailureTracker
}

// NewExpirer returns an Expirer.
func NewExpirer(base component.Base) *Expirer {
	return &Expirer{
		Base:     base,
		outbox:   outbox.NewPublisher(base),
		expired:  base.Counter("expired_messages_total", "Messages that this dispatcher expired before they were emitted."),
		failures: base.Track("expirer", service.StateDegraded, "expiring messages"),
	}
}

// Run expires until ctx ends.
func (e *Expirer) Run(ctx context.Context) error {
	return service.Loop{Every: expireEvery, Failures: e.failures}.Run(ctx, e.expire)
}

// expire expires all messages that are due, batch by batch.
func (e *Expirer) expire(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := e.batch(ctx)
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// batch expires the next messages and publishes their events. It is not
// interrupted by ctx, so that what it commits is published at once.
func (e *Expirer) batch(ctx context.Context) (int, error) {
	began := time.Now()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), component.PublishTimeout)
	defer cancel()
	expired, outboxID, err := e.Store.ExpireDue(bounded, expireBatch, func(expired []message.Message) []byte {
		return events.EncodeOutbox(e.Builder.Transitions(message.EventExpired, expired))
	})
	if err != nil {
		return 0, err
	}
	e.outbox.Publish(ctx, began, outboxID, e.Builder.Transitions(message.EventExpired, expired))
	e.expired.Add(float64(len(expired)))
	return len(expired), nil
}
