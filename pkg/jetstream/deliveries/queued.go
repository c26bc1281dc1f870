package deliveries

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Queued is an id on the delivery queue.
type Queued struct {
	ID          message.ID
	ClaimNumber message.ClaimNumber
}

// ReadDeliveries reads the ids on the delivery queue, waiting or in flight.
func ReadDeliveries(ctx context.Context, js *jetstream.Client, take func([]Queued) error) error {
	const some = 500
	stream, err := js.Stream(ctx, js.DeliveriesStream())
	if err != nil {
		return fmt.Errorf("read the work queue: %w", err)
	}
	var found []Queued
	last := stream.CachedInfo().State.LastSeq
	for next := stream.CachedInfo().State.FirstSeq; next <= last; {
		msg, err := stream.GetMsg(ctx, max(next, 1), natsjs.WithGetMsgSubject(js.Prefix()+".deliver.>"))
		if errors.Is(err, natsjs.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the work queue from %d: %w", next, err)
		}
		next = msg.Sequence + 1
		if id, claim, err := events.ParseDelivery(msg.Subject, msg.Header.Get(events.HeaderClaim)); err == nil { // else it is no copy
			found = append(found, Queued{ID: id, ClaimNumber: claim})
		}
		if len(found) == some {
			if err := take(found); err != nil {
				return err
			}
			found = found[:0]
		}
	}
	if len(found) == 0 {
		return nil
	}
	return take(found)
}

// LastEmission returns how long ago an id or a retry's schedule was stored on the queue,
// by the server's clock. It returns 0 if that is unknown.
func LastEmission(ctx context.Context, js *jetstream.Client) (time.Duration, error) {
	stream, err := js.Stream(ctx, js.DeliveriesStream())
	if err != nil {
		return 0, fmt.Errorf("look up the last emission: %w", err)
	}
	info := stream.CachedInfo()
	if info.State.LastTime.IsZero() || info.State.LastSeq == 0 || info.TimeStamp.IsZero() {
		return 0, nil
	}
	return max(info.TimeStamp.Sub(info.State.LastTime), 0), nil
}
