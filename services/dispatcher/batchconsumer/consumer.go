// Package batchconsumer takes batches from a durable JetStream consumer and
// keeps them from being redelivered while they are processed.
package batchconsumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

const (
	// firstWait is how long a request waits for a first message. restWait is
	// for a request that takes only what is there.
	firstWait = 2 * time.Second
	restWait  = 2 * time.Millisecond
	// maxBytes bounds a batch. The connection reads a whole batch before the
	// next ping; a larger one might break it.
	maxBytes = 8 << 20
)

// Consumer fetches messages in batches. It fetches nothing ahead, so the caller
// holds every message that the server has delivered, and can keep it alive with
// Hold. A Consumer belongs to one goroutine.
type Consumer struct {
	component.Base
	stream   string
	durable  string
	maxCount int
	consumer natsjs.Consumer // nil: to be looked up

	// The newest message so far. After a reconnect it shows whether the stream
	// is still the same.
	reconnects uint64 // of the connection, at the last check
	lastSeq    uint64
	lastMsgID  string
}

// New returns a Consumer that takes up to maxCount messages, or 8 MiB, at once
// from a durable consumer of a stream.
func New(base component.Base, stream, durable string, maxCount int) *Consumer {
	return &Consumer{Base: base, stream: stream, durable: durable, maxCount: maxCount}
}

// Reset forgets the durable consumer, because it was created again.
func (c *Consumer) Reset() { c.consumer = nil }

// Next returns the messages that are there. If there are none, it waits 2 s for
// the first one; no message is not an error. A batch that comes with an error is
// valid and must be processed.
func (c *Consumer) Next(ctx context.Context) ([]natsjs.Msg, error) {
	batch, err := c.next(ctx)
	c.remember(batch)
	if err != nil {
		c.Reset() // the durable consumer may have been created again
		return batch, fmt.Errorf("fetch from %s for %s: %w", c.stream, c.durable, err)
	}
	return batch, nil
}

func (c *Consumer) next(ctx context.Context) ([]natsjs.Msg, error) {
	if err := jetstream.Connected(c.JS.Conn()); err != nil {
		return nil, err
	}
	if err := c.checkStream(ctx); err != nil {
		return nil, err
	}
	if err := c.lookUp(ctx); err != nil {
		return nil, err
	}
	batch, err := c.fetchAvailable(c.maxCount)
	if err != nil || len(batch) > 0 {
		return batch, err
	}
	first, err := c.fetchFirst(ctx)
	if err != nil || len(first) == 0 {
		return first, err
	}
	rest, err := c.fetchAvailable(c.maxCount - 1)
	return append(first, rest...), err
}

func (c *Consumer) lookUp(ctx context.Context) error {
	if c.consumer != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, component.NATSTimeout)
	defer cancel()
	consumer, err := c.JS.Consumer(ctx, c.stream, c.durable)
	if err != nil {
		return err
	}
	c.consumer = consumer
	return nil
}

// fetchFirst waits for one message, of any size.
func (c *Consumer) fetchFirst(ctx context.Context) ([]natsjs.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	fetched, err := c.consumer.Fetch(1, natsjs.FetchContext(ctx))
	if err != nil {
		return nil, err
	}
	first, err := collect(fetched)
	if ctx.Err() != nil {
		err = nil // no more arrived in time
	}
	return first, err
}

// fetchAvailable returns what is there now, up to limit messages and maxBytes. A
// message larger than maxBytes is not among them; fetchFirst takes it.
func (c *Consumer) fetchAvailable(limit int) ([]natsjs.Msg, error) {
	fetched, err := c.consumer.Fetch(limit, natsjs.FetchMaxBytes(maxBytes), natsjs.FetchMaxWait(restWait))
	if err != nil {
		return nil, err
	}
	return collect(fetched)
}

func collect(fetched natsjs.MessageBatch) ([]natsjs.Msg, error) {
	var batch []natsjs.Msg
	for msg := range fetched.Messages() {
		batch = append(batch, msg)
	}
	if err := fetched.Error(); err != nil && !errors.Is(err, natsjs.ErrNoMessages) {
		return batch, err
	}
	return batch, nil
}

// remember keeps the newest message of a batch.
func (c *Consumer) remember(batch []natsjs.Msg) {
	for _, msg := range batch {
		if meta, err := msg.Metadata(); err == nil && meta.Sequence.Stream > c.lastSeq {
			c.lastSeq, c.lastMsgID = meta.Sequence.Stream, msg.Headers().Get(natsjs.MsgIDHeader)
		}
	}
}

// checkStream checks after a reconnect that the stream still holds the newest
// message so far. If it does not, the stream was restored to an earlier state,
// and the durable consumer would skip what was stored since. Then the consumer
// starts again.
func (c *Consumer) checkStream(ctx context.Context) error {
	reconnects := c.JS.Conn().Stats().Reconnects
	if reconnects == c.reconnects || c.lastSeq == 0 {
		c.reconnects = reconnects
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, component.RecorderTimeout)
	defer cancel()
	stream, err := c.JS.Stream(ctx, c.stream)
	if err != nil {
		return err
	}
	msg, err := stream.GetMsg(ctx, c.lastSeq)
	switch {
	case err == nil && msg.Header.Get(natsjs.MsgIDHeader) == c.lastMsgID:
	case err != nil && !errors.Is(err, natsjs.ErrMsgNotFound):
		return err
	case err != nil && stream.CachedInfo().State.FirstSeq > c.lastSeq: // the stream dropped it because of its age
	default:
		if _, err := streams.RepairConsumer(ctx, c.JS, c.stream, c.durable); err != nil {
			return err
		}
		c.lastSeq, c.lastMsgID = 0, ""
	}
	c.reconnects = reconnects
	return nil
}
