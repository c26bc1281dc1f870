package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	// checkTimeout bounds the check of the work queue, checkParallel is how many
	// ids are asked for at a time.
	checkTimeout  = 10 * time.Second
	checkParallel = 16
)

// place is where an emission is.
type place int

const (
	// absent: it is not on the work queue. It was never published, or it is
	// finished. The relay publishes it.
	absent place = iota
	// present: it is on the work queue. It was published.
	present
	// occupied: the delivery under the previous number may be with a sender. The
	// new one waits until that has ended.
	occupied
)

// queueState is what a relay has found on the work queue.
type queueState struct {
	places  map[db.Delivery]place
	lastSeq map[db.Delivery]uint64 // of the last message on the subject; 0: there is none
}

// checkQueue asks the stream for each emission.
func (r *Relay) checkQueue(ctx context.Context, ids []emission) (queueState, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	deliveries, err := r.JS.Stream(ctx, r.JS.DeliveriesStream())
	if err != nil {
		return queueState{}, fmt.Errorf("look up deliveries: %w", err)
	}
	delivered, err := r.lastDelivered(ctx, deliveries)
	if err != nil {
		return queueState{}, err
	}
	found := make([]*natsjs.RawStreamMsg, len(ids))
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(checkParallel)
	for i, e := range ids {
		asking.Go(func() error {
			msg, err := deliveries.GetLastMsgForSubject(ctx, e.subject)
			if err != nil && !errors.Is(err, natsjs.ErrMsgNotFound) {
				return fmt.Errorf("look for a delivery on %s: %w", e.subject, err)
			}
			found[i] = msg
			return nil
		})
	}
	if err := asking.Wait(); err != nil {
		return queueState{}, err
	}
	queue := queueState{places: map[db.Delivery]place{}, lastSeq: map[db.Delivery]uint64{}}
	for i, e := range ids {
		if msg := found[i]; msg != nil {
			queue.places[e.Delivery], queue.lastSeq[e.Delivery] = e.placeBy(msg, delivered), msg.Sequence
		}
	}
	return queue, nil
}

// lastDelivered returns the sequence of the last message that a sender has got.
func (r *Relay) lastDelivered(ctx context.Context, deliveries natsjs.Stream) (uint64, error) {
	consumer, err := deliveries.Consumer(ctx, r.JS.SenderConsumer(message.DefaultDestination))
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up the senders' consumer: %w", err)
	}
	return consumer.CachedInfo().Delivered.Stream, nil
}

// placeBy returns where an emission is, by the last message on its subject.
// delivered is the sequence of the last message that a sender has got.
func (e emission) placeBy(msg *natsjs.RawStreamMsg, delivered uint64) place {
	claim, err := message.ParseClaimNumber(msg.Header.Get(events.HeaderClaim))
	switch {
	case err == nil && claim >= e.ClaimNumber:
		return present
	case e.relayed && msg.Sequence <= delivered:
		// The number was raised while this message was on its way or with a
		// sender. The gate drops it, unless it has passed the gate before.
		return occupied
	}
	return absent // the message is older than the claim, or no sender has it: it is replaced
}

// absent returns those emissions that are not on the work queue.
func (q queueState) absent(ids []emission) []db.Delivery {
	var list []db.Delivery
	for _, e := range ids {
		if q.places[e.Delivery] == absent {
			list = append(list, e.Delivery)
		}
	}
	return list
}

// rewrite returns what is to be published of a claim now. raised contains the
// new claim numbers. An id that is neither raised nor occupied is left out: it
// was published, or its message has ended.
func (q queueState) rewrite(batch []byte, raised map[message.ID]message.ClaimNumber) db.RewrittenClaim {
	entries, err := events.DecodeOutbox(batch)
	if err != nil {
		return db.RewrittenClaim{Batch: batch} // cannot happen: readClaims has decoded it
	}
	var now db.RewrittenClaim
	kept := make([]events.OutboxMessage, 0, len(entries))
	for _, entry := range entries {
		e, ok := emissionOf(entry)
		if !ok {
			kept = append(kept, entry)
			continue
		}
		now.Size++
		claim, isRaised := raised[e.ID]
		switch {
		case q.places[e.Delivery] == occupied:
			kept = append(kept, entry)
		case isRaised:
			kept = append(kept, entry.Relayed(e.ID, claim, q.lastSeq[e.Delivery]))
		default:
			continue
		}
		now.IDs++
	}
	if len(kept) > 0 {
		now.Batch = events.EncodeOutbox(kept)
	}
	return now
}

// claimToPublish is a claim that the relay has taken over.
type claimToPublish struct {
	db.OpenClaim
	entries []events.OutboxMessage // to publish now
	ids     int
	waits   bool // for an occupied id; the events are published with the last id
}

// toPublish returns what of a rewritten claim can be published now.
func (q queueState) toPublish(claim db.OpenClaim) claimToPublish {
	c := claimToPublish{OpenClaim: claim}
	batch, err := events.DecodeOutbox(claim.Batch)
	if err != nil {
		c.waits = true // cannot happen: rewrite has encoded it
		return c
	}
	var others []events.OutboxMessage
	for _, entry := range batch {
		e, ok := emissionOf(entry)
		switch {
		case !ok:
			others = append(others, entry)
		case q.places[e.Delivery] == occupied:
			c.waits = true
		default:
			c.entries = append(c.entries, entry)
			c.ids++
		}
	}
	if !c.waits {
		c.entries = append(c.entries, others...)
	}
	return c
}
