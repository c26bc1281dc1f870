package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Parked returns the schedule that puts a message's id back on the work queue
// at its NextAttemptAt, by the NATS server's clock, under its Claim. There is
// one schedule a message: publishing it again replaces it.
//
// The time goes into the header by hand, because jetstream.WithScheduleAt
// cuts it to whole seconds and so fires up to a second early.
func (c Composer) Parked(m message.Message) Entry {
	entry := c.Delivery(OriginRetry, m)
	entry.Headers[jetstream.ScheduleHeader] = "@at " + m.NextAttemptAt.UTC().Format(time.RFC3339Nano)
	entry.Headers[jetstream.ScheduleTargetHeader] = entry.Subject
	entry.Subject = c.topology.Park(m.Destination, m.ID)
	entry.MsgID += ".retry" // the emission of a reclaim under the same claim is another message
	return entry
}

// RemoveParked takes the schedule of a message off the stream, if it is of the
// message's claim or an older one. A caller may be late: a schedule that was
// published meanwhile, by a sender that failed to deliver the message after it
// was brought back, stays. It is safe to repeat.
func (t Topology) RemoveParked(ctx context.Context, js jetstream.JetStream, m message.Message) error {
	subject := t.Park(m.Destination, m.ID)
	stream, err := js.Stream(ctx, t.DeliveriesStream())
	if err != nil {
		return fmt.Errorf("look up deliveries: %w", err)
	}
	parked, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for the schedule of message %s: %w", m.ID, err)
	}
	claim, err := message.ParseClaimNumber(parked.Header.Get(HeaderClaim))
	if err == nil && claim > m.ClaimNumber {
		return nil
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(parked.Sequence+1)); err != nil {
		return fmt.Errorf("remove the schedule of message %s: %w", m.ID, err)
	}
	return nil
}
