package streams

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

// repairSpan is how far back the consumers of EVENTS and CHANGES start again when
// their stream has lost its end: well before what was stored since, and few enough
// messages to read quickly.
const repairSpan = time.Hour

// BrokenConsumer is a consumer that is ahead of its stream. The stream lost its end,
// in a power cut or by a damaged file, and assigns the lost sequences again. The
// consumer takes the new messages for the ones that it has had, and would skip them.
type BrokenConsumer struct {
	Stream, Consumer string
	// Delivered is the last sequence that the consumer was given, Last the last one
	// in its stream.
	Delivered, Last uint64
}

// BrokenConsumers lists the consumers that are ahead of their streams. It leaves out
// missing ones, which Check reports.
func BrokenConsumers(ctx context.Context, js *jetstream.Client, destinations []string) ([]BrokenConsumer, error) {
	var list []BrokenConsumer
	for _, c := range js.Consumers(destinations) {
		consumer, err := js.Consumer(ctx, c.Stream, c.Config.Durable)
		if errors.Is(err, natsjs.ErrConsumerNotFound) || errors.Is(err, natsjs.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look up consumer %s of %s: %w", c.Config.Durable, c.Stream, err)
		}
		stream, err := js.Stream(ctx, c.Stream) // after the consumer: what it was given was in the stream then
		if err != nil {
			return nil, fmt.Errorf("look up stream %s: %w", c.Stream, err)
		}
		info, state := consumer.CachedInfo(), stream.CachedInfo().State
		ahead := info.Delivered.Stream > state.LastSeq
		// What the intake's only consumer has acknowledged is gone from there:
		// a message below its floor is one that it never got.
		passedOver := c.Stream == js.IntakeStream() && state.Msgs > 0 && state.FirstSeq <= info.AckFloor.Stream
		if ahead || passedOver {
			list = append(list, BrokenConsumer{c.Stream, c.Config.Durable, info.Delivered.Stream, state.LastSeq})
		}
	}
	return list, nil
}

// RepairConsumer starts a consumer again and returns from which sequence: from the
// start of a work queue, since everything in it is still to be done, and from an hour
// ago in EVENTS and CHANGES, since older messages have been recorded or copied.
// Messages that are delivered again do no harm: Postgres decides about each.
func RepairConsumer(ctx context.Context, js *jetstream.Client, stream, consumer string) (from uint64, err error) {
	from = 1
	if stream == js.EventsStream() || stream == js.ChangesStream() {
		if from, err = FirstSince(ctx, js, stream, repairSpan); err != nil {
			return 0, err
		}
	}
	if _, err := js.ResetConsumerToSequence(ctx, stream, consumer, from); err != nil {
		return 0, fmt.Errorf("reset consumer %s of %s to %d: %w", consumer, stream, from, err)
	}
	return from, nil
}

// FirstSince returns the sequence of the first message of a stream that is at most
// span old by the server's clock. This machine's clock may be wrong.
func FirstSince(ctx context.Context, js *jetstream.Client, name string, span time.Duration) (uint64, error) {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("look up stream %s: %w", name, err)
	}
	info := stream.CachedInfo()
	since, state := info.TimeStamp.Add(-span), info.State
	first := max(state.FirstSeq, 1)
	length := int(state.LastSeq + 1 - min(first, state.LastSeq+1))
	found := sort.Search(length, func(i int) bool {
		msg, missing := stream.GetMsg(ctx, first+uint64(i), natsjs.WithGetMsgSubject(js.Prefix()+".>"))
		switch {
		case errors.Is(missing, natsjs.ErrMsgNotFound):
			return true // nothing from here on
		case missing != nil:
			err = errors.Join(err, missing)
			return true
		}
		return !msg.Time.Before(since)
	})
	if err != nil {
		return 0, fmt.Errorf("look for messages of %s since %s: %w", name, since.Format(time.RFC3339), err)
	}
	return first + uint64(found), nil
}
