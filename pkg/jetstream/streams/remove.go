package streams

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

// StoredMessage is a message that a stream keeps.
type StoredMessage struct {
	Subject string
	Headers http.Header
	Data    []byte
}

// Search says what of a stream is looked at, and for what.
type Search struct {
	Stream   string
	Consumer string // of a work queue: see EraseWaiting
	From     uint64 // a sequence; 0 for the first
	Matches  func(StoredMessage) bool
}

// SearchResult is how far a walk through a stream has come.
type SearchResult struct {
	Matched int
	// Next is the sequence from which a later walk goes on: everything before
	// it was looked at.
	Next uint64
}

// Erase goes through everything that a stream holds when it begins, and removes
// what matches, beyond recovery. ctx ends it between two messages; what it
// returns then says where to go on. It may be repeated.
func Erase(ctx context.Context, js *jetstream.Client, w Search) (SearchResult, error) {
	return w.walk(ctx, js, func(stream natsjs.Stream, sequence uint64) (bool, error) {
		return true, remove(ctx, stream, sequence)
	})
}

func remove(ctx context.Context, stream natsjs.Stream, sequence uint64) error {
	err := stream.SecureDeleteMsg(ctx, sequence)
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return nil // taken meanwhile
	}
	return err
}

// EraseWaiting is Remove for a work queue: it leaves what its consumer was
// given, since that may be in somebody's hand, and the server would forget so.
// AwaitAcked waits for it. unsure says that something was given out while it
// was being removed: what became of it shows later.
func EraseWaiting(ctx context.Context, js *jetstream.Client, w Search) (walked SearchResult, unsure bool, err error) {
	walked, err = w.walk(ctx, js, func(stream natsjs.Stream, sequence uint64) (bool, error) {
		if given, err := delivered(ctx, js, w.Stream, w.Consumer); err != nil || given >= sequence {
			return false, err
		}
		if err := remove(ctx, stream, sequence); err != nil {
			return false, err
		}
		given, err := delivered(ctx, js, w.Stream, w.Consumer)
		unsure = unsure || given >= sequence
		return true, err
	})
	return walked, unsure, err
}

// delivered is the last message that a consumer was given; one that is missing
// was given nothing.
func delivered(ctx context.Context, js *jetstream.Client, stream, durable string) (uint64, error) {
	consumer, err := js.Consumer(ctx, stream, durable)
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up consumer %s of %s: %w", durable, stream, err)
	}
	return consumer.CachedInfo().Delivered.Stream, nil
}

// Count is Remove without removing anything.
func Count(ctx context.Context, js *jetstream.Client, w Search) (SearchResult, error) {
	return w.walk(ctx, js, func(natsjs.Stream, uint64) (bool, error) { return true, nil })
}

func (w Search) walk(ctx context.Context, js *jetstream.Client, found func(natsjs.Stream, uint64) (bool, error)) (SearchResult, error) {
	name, from := w.Stream, w.From
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return SearchResult{Next: from}, fmt.Errorf("look up stream %s: %w", name, err)
	}
	state := stream.CachedInfo().State
	if from > state.LastSeq+1 {
		from = 0 // another stream than the one that was walked before
	}
	walked := SearchResult{Next: max(from, state.FirstSeq, 1)}
	pages := newPageReader(stream, int(js.Conn().MaxPayload()))
	for walked.Next <= state.LastSeq {
		page, next, err := pages.read(ctx, walked.Next, state.LastSeq)
		if err != nil {
			return walked, fmt.Errorf("read stream %s from %d: %w", name, walked.Next, err)
		}
		for _, msg := range page {
			if ctx.Err() != nil {
				return walked, fmt.Errorf("read stream %s from %d: %w", name, walked.Next, ctx.Err())
			}
			if w.Matches(StoredMessage{msg.Subject, http.Header(msg.Header), msg.Data}) {
				counts, err := found(stream, msg.Sequence)
				if err != nil {
					return walked, fmt.Errorf("remove message %d from stream %s: %w", msg.Sequence, name, err)
				}
				if counts {
					walked.Matched++
				}
			}
			walked.Next = msg.Sequence + 1
		}
		walked.Next = next
	}
	return walked, nil
}

// ackPoll is the pause between two looks at a consumer.
const ackPoll = 20 * time.Millisecond

// AwaitAcked returns once everything that a consumer was given by now is
// acknowledged. A consumer that is missing was given nothing.
func AwaitAcked(ctx context.Context, js *jetstream.Client, stream, durable string) error {
	var last uint64
	for first := true; ; first = false {
		consumer, err := js.Consumer(ctx, stream, durable)
		if errors.Is(err, natsjs.ErrConsumerNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look up consumer %s of %s: %w", durable, stream, err)
		}
		info := consumer.CachedInfo()
		if first {
			last = info.Delivered.Stream
		}
		if info.NumAckPending == 0 || info.AckFloor.Stream >= last {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for what consumer %s of %s was given: %w", durable, stream, ctx.Err())
		case <-time.After(ackPoll):
		}
	}
}
