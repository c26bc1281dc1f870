package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	// historyBatch is how many events are read at once: few enough that they
	// fit into a connection's buffers even if each is as large as one may be.
	historyBatch = 50
	historyWait  = 5 * time.Second
	// historyIdle is when the server forgets a reader that has died.
	historyIdle = 30 * time.Second
)

// errGap means that events were lost on their way here.
var errGap = errors.New("events are missing between two batches")

// ReadEvents reads the events of some kinds that are stored at this moment, from
// a sequence on, beside every durable consumer. take gets them in their order,
// some at a time.
func (t Topology) ReadEvents(
	ctx context.Context, js jetstream.JetStream, kinds []message.EventType, from uint64, take func([]jetstream.Msg) error,
) error {
	subjects := make([]string, len(kinds))
	for i, kind := range kinds {
		subjects[i] = t.Events(kind)
	}
	consumer, err := js.CreateConsumer(ctx, t.EventsStream(), jetstream.ConsumerConfig{
		Description:       "Reads events again",
		FilterSubjects:    subjects,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       max(from, 1),
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: historyIdle,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if err != nil {
		return fmt.Errorf("read events from %d: %w", from, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = js.DeleteConsumer(ctx, t.EventsStream(), consumer.CachedInfo().Name) // else the server does
	}()
	var read uint64
	for left := consumer.CachedInfo().NumPending; left > 0; {
		batch, err := fetchEvents(ctx, consumer, int(min(left, historyBatch)))
		for _, msg := range batch {
			meta, metaErr := msg.Metadata()
			if metaErr == nil && meta.Sequence.Consumer != read+1 {
				metaErr = errGap
			}
			if metaErr != nil {
				return fmt.Errorf("read events from %d: %w", from, metaErr)
			}
			read++
			left--
		}
		if err == nil && len(batch) > 0 {
			err = take(batch)
		}
		if err != nil {
			return fmt.Errorf("read events from %d: %w", from, err)
		}
	}
	return nil
}

// fetchEvents returns the next n events, all of which are there.
func fetchEvents(ctx context.Context, consumer jetstream.Consumer, n int) ([]jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, historyWait)
	defer cancel()
	answer, err := consumer.Fetch(n, jetstream.FetchContext(ctx))
	if err != nil {
		return nil, err
	}
	batch := make([]jetstream.Msg, 0, n)
	for msg := range answer.Messages() {
		batch = append(batch, msg)
	}
	if err := answer.Error(); err != nil {
		return batch, err
	}
	if len(batch) == 0 {
		return nil, errGap // they were taken out of the stream meanwhile
	}
	return batch, nil
}

// Emitted is an id on the work queue.
type Emitted struct {
	ID          message.ID
	ClaimNumber message.ClaimNumber
}

// ReadDeliveries reads the ids that are on the work queue, waiting or in flight.
func (t Topology) ReadDeliveries(ctx context.Context, js jetstream.JetStream, take func([]Emitted) error) error {
	const some = 500
	stream, err := js.Stream(ctx, t.DeliveriesStream())
	if err != nil {
		return fmt.Errorf("read the work queue: %w", err)
	}
	var found []Emitted
	last := stream.CachedInfo().State.LastSeq
	for next := stream.CachedInfo().State.FirstSeq; next <= last; {
		msg, err := stream.GetMsg(ctx, max(next, 1), jetstream.WithGetMsgSubject(t.prefix+".deliver.>"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the work queue from %d: %w", next, err)
		}
		next = msg.Sequence + 1
		if id, claim, err := readCopy(msg.Subject, msg.Header.Get(HeaderClaim)); err == nil { // else it is no copy
			found = append(found, Emitted{ID: id, ClaimNumber: claim})
		}
		if len(found) == some {
			if err := take(found); err != nil {
				return err
			}
			found = found[:0]
		}
	}
	if len(found) == 0 {
		return nil
	}
	return take(found)
}

// EmittedAgo returns how long ago an id was emitted last, by the server's
// clock; or a retry fired or was parked, which is not told apart. It is 0 when
// nobody knows.
func (t Topology) EmittedAgo(ctx context.Context, js jetstream.JetStream) (time.Duration, error) {
	stream, err := js.Stream(ctx, t.DeliveriesStream())
	if err != nil {
		return 0, fmt.Errorf("look up the last emission: %w", err)
	}
	info := stream.CachedInfo()
	if info.State.LastTime.IsZero() || info.State.LastSeq == 0 || info.TimeStamp.IsZero() {
		return 0, nil
	}
	return max(info.TimeStamp.Sub(info.State.LastTime), 0), nil
}
