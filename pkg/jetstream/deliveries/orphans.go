package deliveries

import (
	"context"
	"errors"
	"fmt"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

// mostOrphans bounds what one call of Orphans lists.
const mostOrphans = 100

// Orphans lists deliveries, by their sequence in DELIVERIES, that the stream still
// holds although the senders have acknowledged them. A server that goes down while it
// handles an acknowledgement can leave one, and no consumer ever gets it. Just after an
// acknowledgement a delivery may be listed for a moment. The list has at most 100.
func Orphans(ctx context.Context, js *jetstream.Client, destination string) ([]uint64, error) {
	consumer, err := js.Consumer(ctx, js.DeliveriesStream(), js.SenderConsumer(destination))
	if errors.Is(err, natsjs.ErrConsumerNotFound) || errors.Is(err, natsjs.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up consumer %s: %w", js.SenderConsumer(destination), err)
	}
	floor := consumer.CachedInfo().AckFloor.Stream
	stream, err := js.Stream(ctx, js.DeliveriesStream())
	if err != nil {
		return nil, fmt.Errorf("look up deliveries: %w", err)
	}
	state := stream.CachedInfo().State
	var list []uint64
	for next := state.FirstSeq; state.Msgs > 0 && next <= floor && floor <= state.LastSeq && len(list) < mostOrphans; {
		msg, err := stream.GetMsg(ctx, next, natsjs.WithGetMsgSubject(js.DeliverSubjects(destination)))
		if errors.Is(err, natsjs.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("look for orphaned copies: %w", err)
		}
		if next = msg.Sequence + 1; msg.Sequence <= floor {
			list = append(list, msg.Sequence)
		}
	}
	return list, nil
}

// RemoveOrphan removes a delivery from DELIVERIES. If it was needed after all, its
// lease expires and the message is claimed again.
func RemoveOrphan(ctx context.Context, js *jetstream.Client, sequence uint64) error {
	stream, err := js.Stream(ctx, js.DeliveriesStream())
	if err == nil {
		err = stream.DeleteMsg(ctx, sequence)
	}
	if err != nil && !errors.Is(err, natsjs.ErrMsgNotFound) {
		return fmt.Errorf("remove orphaned copy %d: %w", sequence, err)
	}
	return nil
}
