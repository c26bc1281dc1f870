package dispatcher

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
)

// announcer publishes what a sweep has put into the outbox.
type announcer struct {
	store     *db.Store
	publisher events.Publisher
}

// publish publishes an outbox row that was written after began, and deletes
// it. Whatever fails is left to the relay: the row is there.
func (a announcer) publish(ctx context.Context, began time.Time, outboxID int64, entries []events.Entry) {
	if outboxID == 0 {
		return
	}
	failpoint.At(failpoint.TransitionsCommitted)
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), began.Add(publishWithin))
	defer cancel()
	if a.publisher.Publish(ctx, entries) == nil {
		failpoint.At(failpoint.TransitionsPublished)
		_ = a.store.DeletePublished(ctx, []int64{outboxID})
	}
}
