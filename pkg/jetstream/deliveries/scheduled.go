package deliveries

import (
	"context"
	"errors"
	"fmt"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// RemoveScheduledRetry removes the schedule of a message's retry, if it belongs to the
// message's claim or an older one. A newer schedule stays: a sender published it after
// the message was redriven. The call may be repeated.
func RemoveScheduledRetry(ctx context.Context, js *jetstream.Client, m message.Message) error {
	subject := js.RetrySubject(m.Destination, m.ID)
	stream, err := js.Stream(ctx, js.DeliveriesStream())
	if err != nil {
		return fmt.Errorf("look up deliveries: %w", err)
	}
	parked, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for the schedule of message %s: %w", m.ID, err)
	}
	claim, err := message.ParseClaimNumber(parked.Header.Get(events.HeaderClaim))
	if err == nil && claim > m.ClaimNumber {
		return nil
	}
	if err := stream.Purge(ctx, natsjs.WithPurgeSubject(subject), natsjs.WithPurgeSequence(parked.Sequence+1)); err != nil {
		return fmt.Errorf("remove the schedule of message %s: %w", m.ID, err)
	}
	return nil
}
