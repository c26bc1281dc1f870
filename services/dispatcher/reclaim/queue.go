package reclaim

import (
	"context"
	"errors"
	"fmt"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/db"
)

// checkQueue divides messages by whether the stream holds their delivery or
// their scheduled retry.
func (s *Sweeper) checkQueue(ctx context.Context, listed []db.ExpiredLease) (held, gone []db.ExpiredLease, err error) {
	deliveries, err := s.JS.Stream(ctx, s.JS.DeliveriesStream())
	if err != nil {
		return nil, nil, fmt.Errorf("look up deliveries: %w", err)
	}
	ackFloors := map[string]uint64{} // by destination
	for _, lease := range listed {
		ackFloor, known := ackFloors[lease.Destination]
		if !known {
			if ackFloor, err = s.ackFloor(ctx, deliveries, lease.Destination); err != nil {
				return nil, nil, err
			}
			ackFloors[lease.Destination] = ackFloor
		}
		inStream, err := s.inStream(ctx, deliveries, lease, ackFloor)
		switch {
		case err != nil:
			return nil, nil, err
		case inStream:
			held = append(held, lease)
		default:
			gone = append(gone, lease)
		}
	}
	return held, gone, nil
}

// ackFloor returns the sequence up to which the senders of a destination have
// acknowledged everything. A delivery below it is never delivered: the stream
// had lost its end, and gave the delivery a number that the senders had had
// before.
func (s *Sweeper) ackFloor(ctx context.Context, deliveries natsjs.Stream, destination string) (uint64, error) {
	consumer, err := deliveries.Consumer(ctx, s.JS.SenderConsumer(destination))
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up the senders of %s: %w", destination, err)
	}
	return consumer.CachedInfo().AckFloor.Stream, nil
}

// inStream says whether the stream holds the scheduled retry of a message, or
// its delivery above ackFloor. It asks for the retry first: one that fires
// meanwhile is then found on the work queue. One that is scheduled meanwhile has
// left its outcome.
func (s *Sweeper) inStream(ctx context.Context, deliveries natsjs.Stream, lease db.ExpiredLease, ackFloor uint64) (bool, error) {
	scheduled, deliver := s.JS.RetrySubject(lease.Destination, lease.ID), s.JS.DeliverSubject(lease.Destination, lease.ID)
	for _, subject := range []string{scheduled, deliver} {
		msg, err := deliveries.GetLastMsgForSubject(ctx, subject)
		if err == nil && (subject == scheduled || msg.Sequence > ackFloor) {
			return true, nil
		}
		if err != nil && !errors.Is(err, natsjs.ErrMsgNotFound) {
			return false, fmt.Errorf("look for a delivery on %s: %w", subject, err)
		}
	}
	return false, nil
}
