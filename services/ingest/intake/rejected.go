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

// rejected is an intake message with what its rejection publishes.
type rejected struct {
	msg   natsjs.Msg
	kept  events.Entry // for REJECTED
	event events.Entry
}

func newRejected(msg natsjs.Msg, entries []events.Entry) rejected {
	return rejected{msg: msg, kept: entries[0], event: entries[1]}
}

// rejection is what the rejection of a message publishes; nil if it is no fault
// of the message, or not yet known to be one.
func (in *intake) rejection(msg natsjs.Msg, p *message.Problem, cause error) []events.Entry {
	meta, err := msg.Metadata()
	if err != nil {
		in.log.Error("intake message without metadata", zap.String("subject", msg.Subject()), zap.Error(err))
		return nil
	}
	if p.Code == message.ProblemInternal {
		// It may be no fault of the message: a schema that is being changed.
		in.log.Error("intake message can't be stored", zap.String("subject", msg.Subject()),
			zap.Uint64("sequence", meta.Sequence.Stream), zap.Uint64("delivery", meta.NumDelivered), zap.Error(cause))
		if meta.NumDelivered < maxDeliveries {
			_ = msg.NakWithDelay(returnDelay)
			return nil
		}
	}
	return in.composer.Rejected(events.Rejection{
		Subject:  msg.Subject(),
		Sequence: meta.Sequence.Stream,
		Stored:   meta.Timestamp,
		Headers:  msg.Headers(),
		Data:     msg.Data(),
		Code:     p.Code,
		Problem:  p.JSON(),
	}, in.js.Conn().MaxPayload())
}

// reject moves messages to the REJECTED stream, and takes each off the intake
// once it is there. One that NATS does not take holds up no other. An event that
// it does not take is left to the relay.
func (in *intake) reject(list []rejected) {
	if len(list) == 0 {
		return
	}
	entries := make([]events.Entry, 0, 2*len(list))
	for _, r := range list {
		entries = append(entries, r.kept, r.event)
	}
	ctx, cancel := context.WithTimeout(context.Background(), rejectWait)
	defer cancel()
	failpoint.At(failpoint.IntakeRejecting)
	missing, err := in.publish.PublishSome(ctx, entries)
	if err != nil && !errors.Is(err, jetstream.ErrUnavailable) {
		in.log.Warn("what rejections publish is not taken", zap.Int("entries", len(missing)), zap.Error(err))
	}
	isMissing := make(map[string]bool, len(missing))
	for _, entry := range missing {
		isMissing[entry.MsgID] = true
	}
	failpoint.At(failpoint.IntakeRejected)
	for _, r := range list {
		switch {
		case isMissing[r.kept.MsgID]:
			_ = r.msg.NakWithDelay(refusedDelay)
		case isMissing[r.event.MsgID] && !in.leave(r.event):
			_ = r.msg.NakWithDelay(returnDelay)
		default:
			_ = r.msg.Ack() // should it get lost, the rejection is repeated under the same Msg-Id
		}
	}
}

// leaveWait bounds the hand-over of an event to the relay.
const leaveWait = 10 * time.Second

// Leave leaves an event to the relay.
func (in *intake) leave(event events.Entry) bool {
	ctx, cancel := context.WithTimeout(context.Background(), leaveWait)
	defer cancel()
	err := in.store.InsertOutboxEvents(ctx, events.Encode([]events.Entry{event}))
	if err != nil {
		in.log.Warn("leave the event of a rejection to the relay", zap.Error(err))
	}
	return err == nil
}
