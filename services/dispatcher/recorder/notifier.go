package recorder

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// notifyTimeout bounds the publishing of a change notification. After that, the
// relay publishes it.
const notifyTimeout = 3 * time.Second

// notifier publishes change notifications for the projector.
type notifier struct {
	component.Base
}

// notify publishes which messages have changed. What NATS does not take goes to
// the outbox, so that recording never waits for the projector.
func (n notifier) notify(ctx context.Context, outcomes []db.Outcome) error {
	ids := make([]message.ID, len(outcomes))
	for i, o := range outcomes {
		ids[i] = o.ID
	}
	publishing, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	missing, err := n.Publisher.PublishSome(publishing, n.Builder.ChangesOf(ids))
	if err == nil {
		return nil
	}
	return n.Store.InsertOutboxEvents(ctx, events.EncodeOutbox(missing))
}
