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

// repairSpan is how far back the consumers of EVENTS and CHANGES begin once
// more when their stream lost its end: well before what was stored since, few
// enough to be read quickly.
const repairSpan = time.Hour

// Misaligned is a consumer that is out of step with its stream: the stream
// lost its end, in a power cut or by a broken file, and gives the numbers out
// anew, but the consumer takes them for what it has had before. It would pass
// over as many new messages.
type BrokenConsumer struct {
	Stream, Consumer string
	// Delivered is the last message that the consumer was given, and Last the
	// last one that its stream holds.
	Delivered, Last uint64
}

// Misaligned looks for consumers that are out of step. A consumer that is
// missing is none: Check tells of it.
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

// RepairConsumer has a consumer begin once more: from the start of a work queue,
// since all that it holds is still to be done, and from an hour ago in EVENTS
// and CHANGES, since what was told before has been recorded, or copied.
// Whatever comes again is judged by Postgres, like any copy.
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

// FirstSince returns the sequence of a stream's first message that was stored
// so long ago or later, by the server's clock: this machine's may be another.
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
