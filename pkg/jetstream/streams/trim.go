package streams

import (
	"context"
	"errors"
	"fmt"
	"math"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

// Above trimAbove of what EVENTS may hold, TrimEvents takes out the oldest
// events until about trimTo is left, both in eighths.
const (
	trimAbove = 7
	trimTo    = 6
	eighths   = 8
)

// TrimEvents makes room in EVENTS when little is left. It takes out the oldest
// events, none that the recorder has not passed: an outcome that is gone
// unrecorded would have its message sent once more. A stream that nobody
// records fills up instead, and then refuses what is published, which its
// publishers hold. It returns how many events it took out. It is safe to be
// called by several dispatchers at once.
func TrimEvents(ctx context.Context, js *jetstream.Client) (trimmed uint64, err error) {
	stream, err := js.Stream(ctx, js.EventsStream())
	if err != nil {
		return 0, fmt.Errorf("look up events: %w", err)
	}
	state, room := stream.CachedInfo().State, stream.CachedInfo().Config.MaxBytes
	if room <= 0 || state.Msgs == 0 || state.Bytes <= uint64(room)/eighths*trimAbove {
		return 0, nil
	}
	recorder, err := stream.Consumer(ctx, events.RecorderConsumer)
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		return 0, nil // nobody knows what is recorded; Check tells of it
	}
	if err != nil {
		return 0, fmt.Errorf("look up the recorder: %w", err)
	}
	excess := state.Bytes - uint64(room)/eighths*trimTo
	keep := state.FirstSeq + uint64(float64(state.Msgs)*float64(excess)/float64(state.Bytes))
	unrecorded, err := nextOutcome(ctx, js, stream, recorder.CachedInfo().AckFloor.Stream+1)
	if err != nil {
		return 0, err
	}
	keep = min(keep, unrecorded, state.LastSeq+1)
	if keep <= state.FirstSeq {
		return 0, nil
	}
	if err := stream.Purge(ctx, natsjs.WithPurgeSequence(keep)); err != nil {
		return 0, fmt.Errorf("take events before %d out: %w", keep, err)
	}
	return keep - state.FirstSeq, nil
}

// nextOutcome returns the sequence of the first event from a sequence on that
// may tell of an outcome, and the highest there is if none does.
func nextOutcome(ctx context.Context, js *jetstream.Client, stream natsjs.Stream, from uint64) (uint64, error) {
	next := uint64(math.MaxUint64)
	for _, subject := range js.OutcomeSubjects() {
		msg, err := stream.GetMsg(ctx, from, natsjs.WithGetMsgSubject(subject))
		if errors.Is(err, natsjs.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("look for an outcome from event %d on: %w", from, err)
		}
		next = min(next, msg.Sequence)
	}
	return next, nil
}
