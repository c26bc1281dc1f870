package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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

// Last returns the sequence of the last event that is stored now and may tell
// of an outcome, 0 if there is none: what others tell is in Postgres already.
// The stream's leader answers, who knows every event that was acknowledged.
func (p Positions) Last(ctx context.Context) (uint64, error) {
	stream, err := p.js.Stream(ctx, p.topology.EventsStream())
	if err != nil {
		return 0, fmt.Errorf("look up events: %w", err)
	}
	subjects := p.topology.outcomes()
	found, errs := make([]uint64, len(subjects)), make([]error, len(subjects))
	var asking sync.WaitGroup
	for i, subject := range subjects {
		asking.Go(func() {
			msg, err := stream.GetLastMsgForSubject(ctx, subject)
			switch {
			case err == nil:
				found[i] = msg.Sequence
			case !errors.Is(err, jetstream.ErrMsgNotFound):
				errs[i] = err
			}
		})
	}
	asking.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, fmt.Errorf("look up last outcome: %w", err)
	}
	return slices.Max(found), nil
}

// firstPoll and lastPoll are the pauses between AwaitRecorded's looks: the
// recorder is mostly milliseconds behind, and seldom seconds.
const (
	firstPoll = 2 * time.Millisecond
	lastPoll  = 20 * time.Millisecond
)

// AwaitRecorded returns once the recorder has passed the outcome with the
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
	stream, err := p.js.Stream(ctx, p.topology.EventsStream())
	return err == nil && floor <= stream.CachedInfo().State.LastSeq
}
