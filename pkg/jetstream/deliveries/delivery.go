package deliveries

import (
	"context"
	"fmt"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Delivery is one delivery of an id: the right to work on it while it is held. The
// holder settles it once, by Ack, DoubleAck or Nak. Otherwise the server delivers it
// again after its ack wait. All methods are safe for concurrent use.
type Delivery struct {
	ID            message.ID
	ClaimNumber   message.ClaimNumber // the fencing token that it was published with
	DeliveryCount int                 // JetStream's count of its deliveries, from 1
	// First says that nobody can have had this claim before: who claimed it
	// published it, and it was never delivered until now.
	First bool

	sequence uint64
	stored   time.Time // by the server
	msg      natsjs.Msg

	nakMargin time.Duration // what must be left of the hold for a nak

	mu      sync.Mutex
	settled bool
	until   time.Time // zero, in a Copy that no Queue made: for ever
}

// naksPerWait is the part of the ack wait that must be left for a nak. A nak that the
// network delays beyond the end of the hold would take the delivery from the sender
// that has it by then, and the server has no guard against that.
const naksPerWait = 3

// newDelivery reads a delivery that is held until the given time.
func newDelivery(msg natsjs.Msg, until time.Time, ackWait time.Duration) (*Delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("read delivery on %s: %w", msg.Subject(), err)
	}
	header := msg.Headers()
	id, claim, err := events.ParseDelivery(msg.Subject(), header.Get(events.HeaderClaim))
	if err != nil {
		return nil, err
	}
	origin := header.Get(events.HeaderOrigin)
	return &Delivery{
		ID:            id,
		ClaimNumber:   claim,
		DeliveryCount: int(meta.NumDelivered),
		First:         meta.NumDelivered == 1 && (origin == events.OriginTick || origin == events.OriginFastPath),
		sequence:      meta.Sequence.Stream,
		stored:        meta.Timestamp,
		msg:           msg,
		nakMargin:     ackWait / naksPerWait,
		until:         until,
	}, nil
}

// holdMargin is the part of the ack wait, counted from its end, in which no work on a
// delivery starts.
const holdMargin = 500 * time.Millisecond

// HoldExpired reports whether the server may have given the delivery to another sender,
// because this process was cut off, stood still, or its machine slept for too long. Then
// no work may start on it, and Ack, DoubleAck and Nak do nothing: an ack would take it
// from the other sender, and a nak could have it delivered a third time.
func (c *Delivery) HoldExpired() bool { return !c.Outlasts(0) }

// Outlasts reports whether the delivery is held for at least d from now on, even if no
// sign of life reaches the server any more.
func (c *Delivery) Outlasts(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outlasts(d)
}

func (c *Delivery) outlasts(d time.Duration) bool {
	return c.until.IsZero() || !jetstream.PassedByAnyClock(c.until.Add(-holdMargin-d), time.Now())
}

// Ack takes the delivery off the queue. The server doesn't confirm it; if the ack is
// lost, the id is delivered again.
func (c *Delivery) Ack() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.outlasts(0) {
		return c.settle(nil)
	}
	return c.settle(c.msg.Ack())
}

// DoubleAck takes the delivery off the queue and waits until the server has confirmed
// it. It may be called again after an error.
func (c *Delivery) DoubleAck(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.outlasts(0) {
		return c.settle(nil)
	}
	return c.settle(c.msg.DoubleAck(ctx))
}

// Nak returns the delivery, to be delivered again after the delay. If its hold is nearly
// over, Nak leaves it to the server, which delivers it soon: a late nak would take it from
// another sender.
func (c *Delivery) Nak(delay time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.outlasts(c.nakMargin) {
		return c.settle(nil)
	}
	if delay <= 0 {
		return c.settle(c.msg.Nak())
	}
	return c.settle(c.msg.NakWithDelay(delay))
}

func (c *Delivery) settle(err error) error {
	if err != nil {
		return fmt.Errorf("settle delivery of message %s: %w", c.ID, err)
	}
	c.settled = true
	return nil
}

// inProgress renews the hold. It does nothing if the delivery is being settled (a sign of
// life after a nak would undo its delay) or its hold has expired.
func (c *Delivery) inProgress() (done bool, err error) {
	if !c.mu.TryLock() {
		return true, nil
	}
	defer c.mu.Unlock()
	if c.settled || !c.outlasts(0) {
		return true, nil
	}
	return false, c.msg.InProgress()
}

// extend records that the server has the sign of life. If the hold has expired meanwhile,
// the sign of life may have come too late.
func (c *Delivery) extend(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outlasts(0) {
		c.until = until
	}
}
