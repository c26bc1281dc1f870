package events

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Positions tells how far the recorder is. It is safe for concurrent use.
type Positions struct {
	js       jetstream.JetStream
	topology Topology
}

// NewPositions returns a Positions over a connection.
func NewPositions(js jetstream.JetStream, topology Topology) Positions {
	return Positions{js: js, topology: topology}
}

// Last returns the sequence of the last event that is stored now.
func (p Positions) Last(ctx context.Context) (uint64, error) {
	stream, err := p.js.Stream(ctx, p.topology.EventsStream())
	if err != nil {
		return 0, fmt.Errorf("look up last event: %w", err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// firstPoll and lastPoll are the pauses between AwaitRecorded's looks: the
// recorder is mostly milliseconds behind, and seldom seconds.
const (
	firstPoll = 2 * time.Millisecond
	lastPoll  = 20 * time.Millisecond
)

// AwaitRecorded returns once the recorder has passed the event with the
// given sequence: everything up to it is in Postgres. It returns ctx's error
// when that ends first. A position beyond the end of the stream says nothing:
// the stream has lost its end, and the recorder is about to begin once more.
func (p Positions) AwaitRecorded(ctx context.Context, sequence uint64) error {
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		consumer, err := p.js.Consumer(ctx, p.topology.EventsStream(), RecorderConsumer)
		if err == nil && p.passed(ctx, consumer.CachedInfo().AckFloor.Stream, sequence) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await recorder at event %d: %w", sequence, ctx.Err())
		case <-time.After(wait):
		}
	}
}

func (p Positions) passed(ctx context.Context, floor, sequence uint64) bool {
	if floor <= sequence {
		return floor == sequence
	}
	last, err := p.Last(ctx)
	return err == nil && floor <= last
}
