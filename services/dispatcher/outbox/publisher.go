package outbox

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// Publisher publishes the rows of events that its own process has written.
type Publisher struct {
	component.Base
}

// NewPublisher returns a Publisher.
func NewPublisher(base component.Base) Publisher { return Publisher{base} }

// Publish publishes the entries of an outbox row that was written after began,
// and deletes the row. If anything fails, the row stays and a relay publishes
// it. An id of 0 means that there is no row. The end of ctx does not interrupt
// it; it takes PublishTimeout after began at most.
func (p Publisher) Publish(ctx context.Context, began time.Time, outboxID int64, entries []events.OutboxMessage) {
	if outboxID == 0 {
		return
	}
	failpoint.At(failpoint.TransitionsCommitted)
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), began.Add(component.PublishTimeout))
	defer cancel()
	if p.Base.Publisher.Publish(ctx, entries) == nil {
		failpoint.At(failpoint.TransitionsPublished)
		_ = p.Store.DeletePublished(ctx, []int64{outboxID}) // if it fails, the relay publishes the row once more
	}
}
