package outbox

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// Publisher publishes what a sweep has put into the outbox.
type Publisher struct {
	component.Base
}

// NewPublisher returns one that is ready to publish.
func NewPublisher(base component.Base) Publisher { return Publisher{base} }

// Publish publishes an outbox row that was written after began, and deletes
// it. Whatever fails is left to the relay: the row is there.
func (a Publisher) Publish(ctx context.Context, began time.Time, outboxID int64, entries []events.Entry) {
	if outboxID == 0 {
		return
	}
	failpoint.At(failpoint.TransitionsCommitted)
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), began.Add(component.PublishTimeout))
	defer cancel()
	if a.Publisher.Publish(ctx, entries) == nil {
		failpoint.At(failpoint.TransitionsPublished)
		_ = a.Store.DeletePublished(ctx, []int64{outboxID})
	}
}
