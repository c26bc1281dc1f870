package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/events"
)

// RecorderProgress tells how far the recorder is. It is safe for concurrent use.
type RecorderProgress struct {
	js     *Client
	events *atomic.Value // a natsjs.Stream, once it was found
}

// NewRecorderProgress returns a RecorderProgress over a connection.
func NewRecorderProgress(js *Client) RecorderProgress {
	return RecorderProgress{js: js, events: new(atomic.Value)}
}

// LastEvent returns the sequence of the last event that is stored now, 0 if there
// is none. The stream's leader answers, who knows every event that was
// acknowledged.
func (p RecorderProgress) LastEvent(ctx context.Context) (uint64, error) {
	last, err := p.lastOn(ctx, p.js.Prefix()+".events.>")
	if err != nil {
		return 0, fmt.Errorf("look up last event: %w", err)
	}
	return last, nil
}

// lastOutcome returns the sequence of the last event that may tell of an
// outcome.
func (p RecorderProgress) lastOutcome(ctx context.Context) (last uint64, err error) {
	for _, subject := range p.js.OutcomeSubjects() {
		one, err := p.lastOn(ctx, subject)
		if err != nil {
			return 0, err
		}
		last = max(last, one)
	}
	return last, nil
}

func (p RecorderProgress) lastOn(ctx context.Context, subject string) (uint64, error) {
	stream, found := p.events.Load().(natsjs.Stream)
	if !found {
		var err error
		if stream, err = p.js.Stream(ctx, p.js.EventsStream()); err != nil {
			return 0, err
		}
		p.events.Store(stream)
	}
	msg, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return msg.Sequence, nil
}

// firstPoll and lastPoll are the pauses between AwaitRecorded's looks: the
// recorder is mostly milliseconds behind, and seldom seconds. After so many
// looks as patientLooks it asks what is really to be waited for.
const (
	firstPoll    = 2 * time.Millisecond
	lastPoll     = 20 * time.Millisecond
	patientLooks = 2
)

// AwaitRecorded returns once the recorder has passed the event with the given
// sequence: every outcome up to it is in Postgres. It returns ctx's error when
// that ends first.
func (p RecorderProgress) AwaitRecorded(ctx context.Context, sequence uint64) error {
	known := false // that an outcome is to be waited for
	for looks, wait := 1, firstPoll; ; looks, wait = looks+1, min(2*wait, lastPoll) {
		consumer, err := p.js.Consumer(ctx, p.js.EventsStream(), events.RecorderConsumer)
		if err == nil && p.passed(ctx, consumer.CachedInfo(), sequence) {
			return nil
		}
		if looks >= patientLooks && !known {
			// The recorder does not look at other events by themselves.
			if last, err := p.lastOutcome(ctx); err == nil {
				sequence, known = min(sequence, last), true
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await recorder at event %d: %w", sequence, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// passed says whether everything up to a sequence is acknowledged: that is
// what the ack floor says, and when nothing is under way, also how far the
// consumer has looked. A position beyond the end of the stream says nothing:
// the stream has lost its end, and the recorder is about to begin once more.
func (p RecorderProgress) passed(ctx context.Context, recorder *natsjs.ConsumerInfo, sequence uint64) bool {
	position := recorder.AckFloor.Stream
	if recorder.NumAckPending == 0 {
		position = max(position, recorder.Delivered.Stream)
	}
	if position <= sequence {
		return position == sequence
	}
	stream, err := p.js.Stream(ctx, p.js.EventsStream())
	return err == nil && position <= stream.CachedInfo().State.LastSeq
}
