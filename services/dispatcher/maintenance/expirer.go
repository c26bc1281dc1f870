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

// expireEvery is how often it is looked for messages to expire, and expireBatch
// how many are expired at once.
const (
	expireEvery = time.Second
	expireBatch = 1000
)

// Expirer expires what was not sent in time. It works without NATS.
type Expirer struct {
	component.Base
	outbox  outbox.Publisher
	expired prometheus.Counter
	trouble *service.FailureTracker
}

// NewExpirer returns one that is ready to run.
func NewExpirer(base component.Base) *Expirer {
	return &Expirer{
		Base:    base,
		outbox:  outbox.NewPublisher(base),
		expired: base.Counter("expired_messages_total", "Messages that this dispatcher expired before they were emitted."),
		trouble: base.Watch("expirer", service.StateDegraded, "expiring messages"),
	}
}

// Run expires until ctx ends.
func (e *Expirer) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(component.Jitter(expireEvery)):
		}
		err := e.expire(ctx)
		if ctx.Err() == nil {
			e.trouble.Report(err)
		}
	}
}

// expire expires PENDING messages whose expiresAt is over. For those that
// are emitted already, the senders look.
func (e *Expirer) expire(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := e.batch(ctx)
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

func (e *Expirer) batch(ctx context.Context) (int, error) {
	began := time.Now()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), component.PublishTimeout)
	defer cancel()
	moved, outboxID, err := e.Store.ExpireDue(bounded, expireBatch, func(moved []message.Message) []byte {
		return events.Encode(e.Composer.Moved(message.EventExpired, moved))
	})
	if err != nil {
		return 0, err
	}
	e.outbox.Publish(ctx, began, outboxID, e.Composer.Moved(message.EventExpired, moved))
	e.expired.Add(float64(len(moved)))
	return len(moved), nil
}
