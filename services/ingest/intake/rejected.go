package intake

import (
	"context"
	"errors"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	// rejectTimeout bounds the publishing of a batch's rejections. The next batch
	// waits for it.
	rejectTimeout = 3 * time.Second
	outboxTimeout = 10 * time.Second
	// redeliveryDelay is when a message comes again that could be neither stored
	// nor rejected. refusedDelay is when one comes again that REJECTED refuses.
	redeliveryDelay = 5 * time.Second
	refusedDelay    = 30 * time.Second
	// maxDeliveries is how often a message is tried that causes an unexpected
	// error. Then it is rejected.
	maxDeliveries = 20
)

// rejection is a message with what its rejection publishes.
type rejection struct {
	msg      natsjs.Msg
	rejected events.OutboxMessage // for REJECTED
	event    events.OutboxMessage
}

func newRejection(msg natsjs.Msg, entries []events.OutboxMessage) rejection {
	return rejection{msg: msg, rejected: entries[0], event: entries[1]}
}

// rejectionEntries returns what the rejection of a message publishes. It returns
// nil if the message may not be at fault; then it is tried again.
func (c *Consumer) rejectionEntries(msg natsjs.Msg, p *message.Problem, cause error) []events.OutboxMessage {
	meta, err := msg.Metadata()
	if err != nil {
		c.log.Error("intake message without metadata", zap.String("subject", msg.Subject()), zap.Error(err))
		return nil
	}
	if p.Code == message.ProblemInternal {
		// The cause may pass, such as a migration of the schema.
		c.log.Error("intake message can't be stored", zap.String("subject", msg.Subject()),
			zap.Uint64("sequence", meta.Sequence.Stream), zap.Uint64("delivery", meta.NumDelivered), zap.Error(cause))
		if meta.NumDelivered < maxDeliveries {
			_ = msg.NakWithDelay(redeliveryDelay)
			return nil
		}
	}
	return c.builder.Rejection(events.Rejection{
		Subject:  msg.Subject(),
		Sequence: meta.Sequence.Stream,
		Stored:   meta.Timestamp,
		Headers:  msg.Headers(),
		Data:     msg.Data(),
		Code:     p.Code,
		Problem:  p.JSON(),
	}, c.js.Conn().MaxPayload())
}

// reject publishes messages to the REJECTED stream and acknowledges each one
// that is there. A message that NATS refuses does not hold up the others. An
// event that it refuses is left to the dispatchers' relay.
func (c *Consumer) reject(rejections []rejection) {
	if len(rejections) == 0 {
		return
	}
	entries := make([]events.OutboxMessage, 0, 2*len(rejections))
	for _, r := range rejections {
		entries = append(entries, r.rejected, r.event)
	}
	ctx, cancel := context.WithTimeout(context.Background(), rejectTimeout)
	defer cancel()
	failpoint.At(failpoint.IntakeRejecting)
	missing, err := c.publisher.PublishSome(ctx, entries)
	if err != nil && !errors.Is(err, jetstream.ErrUnavailable) {
		c.log.Warn("NATS refuses what rejections publish", zap.Int("entries", len(missing)), zap.Error(err))
	}
	isMissing := make(map[string]bool, len(missing))
	for _, entry := range missing {
		isMissing[entry.MsgID] = true
	}
	failpoint.At(failpoint.IntakeRejected)
	for _, r := range rejections {
		switch {
		case isMissing[r.rejected.MsgID]:
			_ = r.msg.NakWithDelay(refusedDelay)
		case isMissing[r.event.MsgID] && !c.leaveToRelay(r.event):
			_ = r.msg.NakWithDelay(redeliveryDelay)
		default:
			_ = r.msg.Ack() // if it is lost, the rejection is repeated under the same Msg-Id
		}
	}
}

// leaveToRelay stores an event in the outbox. It reports whether it did.
func (c *Consumer) leaveToRelay(event events.OutboxMessage) bool {
	ctx, cancel := context.WithTimeout(context.Background(), outboxTimeout)
	defer cancel()
	err := c.store.InsertOutboxEvents(ctx, events.EncodeOutbox([]events.OutboxMessage{event}))
	if err != nil {
		c.log.Warn("store the event of a rejection", zap.Error(err))
	}
	return err == nil
}
