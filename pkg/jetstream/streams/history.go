package streams

import (
	"context"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
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

// ReadEvents reads the events of some kinds that are stored at this moment, from
// a sequence on, beside every durable consumer. take gets them in their order,
// some at a time.
func ReadEvents(
	ctx context.Context, js *jetstream.Client, kinds []message.EventType, from uint64, take func([]natsjs.Msg) error,
) error {
	subjects := make([]string, len(kinds))
	for i, kind := range kinds {
		subjects[i] = js.EventSubjects(kind)
	}
	consumer, err := js.CreateConsumer(ctx, js.EventsStream(), natsjs.ConsumerConfig{
		Description:       "Reads events again",
		FilterSubjects:    subjects,
		DeliverPolicy:     natsjs.DeliverByStartSequencePolicy,
		OptStartSeq:       max(from, 1),
		AckPolicy:         natsjs.AckNonePolicy,
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
		_ = js.DeleteConsumer(ctx, js.EventsStream(), consumer.CachedInfo().Name) // else the server does
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
func fetchEvents(ctx context.Context, consumer natsjs.Consumer, n int) ([]natsjs.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, historyWait)
	defer cancel()
	answer, err := consumer.Fetch(n, natsjs.FetchContext(ctx))
	if err != nil {
		return nil, err
	}
	batch := make([]natsjs.Msg, 0, n)
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
