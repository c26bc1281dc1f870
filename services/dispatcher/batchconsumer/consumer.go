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
	// feedWait is how long one request for the next message waits, and feedSoon
	// one for all that are there.
	feedWait = 2 * time.Second
	feedSoon = 2 * time.Millisecond
	// feedBytes is how much is taken at once: more than that may break the
	// connection, which has to take it in before its next sign of life.
	feedBytes = 8 << 20
	// holdEvery is how often the server is told that what is in hand is being
	// worked on: well within the consumers' ack wait.
	holdEvery = 4 * time.Second
)

// Consumer takes messages from a durable consumer, batch by batch. Nothing
// is fetched ahead, so that everything that the server has handed out is in
// the hands of whoever can keep it alive. It belongs to one goroutine.
type Consumer struct {
	component.Base
	stream   string
	durable  string
	most     int             // taken at once
	consumer natsjs.Consumer // nil: to be looked up

	// The message that came last, by which a stream is known to be the same
	// after the connection was lost.
	session uint64 // reconnects until then
	last    uint64
	lastID  string
}

// NewConsumer returns one that takes up to a number of messages at once from a
// durable consumer of a stream.
func NewConsumer(base component.Base, stream, durable string, most int) *Consumer {
	return &Consumer{Base: base, stream: stream, durable: durable, most: most}
}

// Renew has the durable consumer looked up again: it was made anew.
func (f *Consumer) Renew() { f.consumer = nil }

// Next returns what there is, up to the most; when there is none it
// waits for the first. It returns none when nothing came for a while. What
// comes with an error counts all the same.
func (f *Consumer) Next(ctx context.Context) ([]natsjs.Msg, error) {
	batch, err := f.next(ctx)
	f.remember(batch)
	if err != nil {
		f.consumer = nil // look it up anew: it may have been made anew
		return batch, fmt.Errorf("fetch from %s for %s: %w", f.stream, f.durable, err)
	}
	return batch, nil
}

func (f *Consumer) next(ctx context.Context) ([]natsjs.Msg, error) {
	if err := jetstream.Connected(f.JS.Conn()); err != nil {
		return nil, err
	}
	if err := f.recognise(ctx); err != nil {
		return nil, err
	}
	if f.consumer == nil {
		ask, cancel := context.WithTimeout(ctx, component.AskTimeout)
		defer cancel()
		consumer, err := f.JS.Consumer(ask, f.stream, f.durable)
		if err != nil {
			return nil, err
		}
		f.consumer = consumer
	}
	batch, err := f.take(f.most)
	if err != nil || len(batch) > 0 {
		return batch, err
	}
	wait, cancel := context.WithTimeout(ctx, feedWait)
	defer cancel()
	answer, err := f.consumer.Fetch(1, natsjs.FetchContext(wait))
	if err != nil {
		return nil, err
	}
	first, err := collect(answer)
	if len(first) == 0 || err != nil {
		if wait.Err() != nil {
			err = nil // nothing came
		}
		return first, err
	}
	rest, err := f.take(f.most - 1)
	return append(first, rest...), err
}

// remember notes the last message of a batch.
func (f *Consumer) remember(batch []natsjs.Msg) {
	for _, msg := range batch {
		if meta, err := msg.Metadata(); err == nil && meta.Sequence.Stream > f.last {
			f.last, f.lastID = meta.Sequence.Stream, msg.Headers().Get(natsjs.MsgIDHeader)
		}
	}
}

// recognise makes sure after a reconnect that the stream still holds the message
// that came last. If not, it was put back to what it held before, and what it
// has taken since would be passed over: then the consumer begins once more.
func (f *Consumer) recognise(ctx context.Context) error {
	session := f.JS.Conn().Stats().Reconnects
	if session == f.session || f.last == 0 {
		f.session = session
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, component.RecorderTimeout)
	defer cancel()
	stream, err := f.JS.Stream(ctx, f.stream)
	if err != nil {
		return err
	}
	msg, err := stream.GetMsg(ctx, f.last)
	switch {
	case err == nil && msg.Header.Get(natsjs.MsgIDHeader) == f.lastID:
	case err != nil && !errors.Is(err, natsjs.ErrMsgNotFound):
		return err
	case err != nil && stream.CachedInfo().State.FirstSeq > f.last: // it is too old to be kept
	default:
		if _, err := streams.Realign(ctx, f.JS, f.stream, f.durable); err != nil {
			return err
		}
		f.last, f.lastID = 0, ""
	}
	f.session = session
	return nil
}

// take returns what is there at this moment, up to so many messages or
// feedBytes. What is larger than that by itself is not among it; next asks for
// one message whatever its size.
func (f *Consumer) take(limit int) ([]natsjs.Msg, error) {
	answer, err := f.consumer.Fetch(limit, natsjs.FetchMaxBytes(feedBytes), natsjs.FetchMaxWait(feedSoon))
	if err != nil {
		return nil, err
	}
	return collect(answer)
}

func collect(answer natsjs.MessageBatch) ([]natsjs.Msg, error) {
	var batch []natsjs.Msg
	for msg := range answer.Messages() {
		batch = append(batch, msg)
	}
	if err := answer.Error(); err != nil && !errors.Is(err, natsjs.ErrNoMessages) {
		return batch, err
	}
	return batch, nil
}

// Hold keeps messages from being handed out again, until release is called.
func Hold(batch []natsjs.Msg) (release func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticks := time.NewTicker(holdEvery)
		defer ticks.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticks.C:
			}
			for _, msg := range batch {
				_ = msg.InProgress() // without it the message comes again, which is harmless
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// Ack ends a message that is done with. One whose end gets lost comes
// again, and changes nothing then.
func Ack(msg natsjs.Msg) { _ = msg.Ack() }
