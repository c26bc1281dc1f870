package checker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

func (r *Evidence) gatherNATS(ctx context.Context, at Places) error {
	conn, err := nats.Connect(at.NATS)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := natsjs.New(conn)
	if err != nil {
		return err
	}
	prefix := strings.ToUpper(at.Prefix)
	for _, name := range []string{"DELIVERIES", "INTAKE"} {
		left, err := leftoversIn(ctx, js, prefix+"_"+name)
		if err != nil {
			return err
		}
		r.Leftovers = append(r.Leftovers, left...)
	}
	err = readAll(ctx, js, prefix+"_REJECTED", func(msg natsjs.Msg, meta *natsjs.MsgMetadata) error {
		header := msg.Headers()
		r.Rejected = append(r.Rejected, Rejected{
			ID: header.Get("Nats-Msg-Id"), Key: header.Get("Dispatch-Msg-Id"), Code: header.Get("Dispatch-Problem-Code"), Stored: meta.Timestamp,
		})
		return nil
	})
	if err != nil {
		return err
	}
	return readAll(ctx, js, prefix+"_EVENTS", func(msg natsjs.Msg, meta *natsjs.MsgMetadata) error {
		event, err := readEvent(msg, meta)
		r.Events = append(r.Events, event)
		return err
	})
}

// leftoversIn lists what is in a stream that should be empty.
func leftoversIn(ctx context.Context, js natsjs.JetStream, name string) ([]Leftover, error) {
	const most = 10
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var list []Leftover
	state := stream.CachedInfo().State
	for sequence := state.FirstSeq; sequence <= state.LastSeq && state.Msgs > 0 && len(list) < most; sequence++ {
		msg, err := stream.GetMsg(ctx, sequence)
		if errors.Is(err, natsjs.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, Leftover{name, fmt.Sprintf("%d in all, one on %s since %s: %s", state.Msgs, msg.Subject, clock(msg.Time), msg.Header.Get("Nats-Msg-Id"))})
	}
	return list, nil
}

// cloudEvent is what the checker reads of an event.
type cloudEvent struct {
	ID, Type, Subject, Sequence string
	Data                        struct {
		Status  string
		Outcome *struct {
			Claim    int64
			Delivery int
			Attempt  *struct{ Number int }
		}
	}
}

// readAll hands over what a stream holds now, one by one.
func readAll(ctx context.Context, js natsjs.JetStream, name string, each func(natsjs.Msg, *natsjs.MsgMetadata) error) error {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	last := stream.CachedInfo().State.LastSeq
	if stream.CachedInfo().State.Msgs == 0 {
		return nil
	}
	consumer, err := stream.OrderedConsumer(ctx, natsjs.OrderedConsumerConfig{})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(natsjs.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := each(msg, meta); err != nil {
			return fmt.Errorf("%s %d: %w", name, meta.Sequence.Stream, err)
		}
		if meta.Sequence.Stream >= last {
			return nil
		}
	}
}

func readEvent(msg natsjs.Msg, meta *natsjs.MsgMetadata) (Event, error) {
	var raw cloudEvent
	if err := json.Unmarshal(msg.Data(), &raw); err != nil {
		return Event{}, err
	}
	sequence, err := strconv.ParseInt(raw.Sequence, 10, 64)
	if err != nil {
		return Event{}, fmt.Errorf("sequence: %w", err)
	}
	event := Event{
		Stored: meta.Timestamp, Position: meta.Sequence.Stream, ID: raw.ID, Message: raw.Subject,
		Type: raw.Type[strings.LastIndexByte(raw.Type, '.')+1:], Sequence: sequence, Status: raw.Data.Status,
	}
	if outcome := raw.Data.Outcome; outcome != nil {
		event.Claim, event.Delivery = outcome.Claim, outcome.Delivery
		if outcome.Attempt != nil {
			event.Attempt = outcome.Attempt.Number
		}
	}
	return event, nil
}
