// Package intake stores the messages that other systems publish to
// dispatch.intake.>.
package intake

import (
	"context"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest/accept"
	"github.com/message-dispatcher/dispatch/services/ingest/metrics"
)

const (
	batchMessages = 1000
	batchBytes    = 8 << 20
	bufferBytes   = 16 << 20 // requested ahead
	// While Postgres is down, a batch is tried again after backoffFirst, then
	// after longer and longer pauses up to backoffMax.
	backoffFirst = 200 * time.Millisecond
	backoffMax   = 2 * time.Second
)

// Config is what a Consumer works with.
type Config struct {
	JS       *jetstream.Client
	Acceptor *accept.Acceptor
	Store    *db.Store
	Builder  events.EventBuilder
	Metrics  *metrics.Metrics
	Log      *zap.Logger
}

// Consumer stores the messages of the intake stream in batches. It acknowledges
// each message once it is committed or once the REJECTED stream has it. A message
// that is delivered again is not stored again: its id derives from its place in
// the stream.
type Consumer struct {
	js        *jetstream.Client
	acceptor  *accept.Acceptor
	store     *db.Store
	builder   events.EventBuilder
	publisher jetstream.Publisher
	metrics   *metrics.Metrics
	log       *zap.Logger
	batch     service.Batch[natsjs.Msg]
}

// New returns a consumer that stores messages while Run runs.
func New(cfg Config) *Consumer {
	return &Consumer{
		js: cfg.JS, acceptor: cfg.Acceptor, store: cfg.Store, builder: cfg.Builder,
		publisher: jetstream.NewPublisher(cfg.JS), metrics: cfg.Metrics, log: cfg.Log,
		batch: service.Batch[natsjs.Msg]{
			Count: batchMessages, Bytes: batchBytes, Size: func(msg natsjs.Msg) int { return len(msg.Data()) },
		},
	}
}

// Run consumes until ctx ends. Then it finishes the messages that it holds, or
// returns them to the stream.
func (c *Consumer) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		consumer, err := c.find(ctx)
		if err != nil {
			return err // of ctx
		}
		if err := c.consume(ctx, consumer); err != nil {
			return err
		}
	}
	return nil
}

// find waits for the durable consumer.
func (c *Consumer) find(ctx context.Context) (consumer natsjs.Consumer, err error) {
	err = service.WaitFor(ctx, c.log, "NATS intake (missing streams: run dispatch provision)", func(ctx context.Context) (err error) {
		if err := jetstream.Connected(c.js.Conn()); err != nil {
			return err
		}
		consumer, err = c.js.Consumer(ctx, c.js.IntakeStream(), events.IntakeConsumer)
		return err
	})
	return consumer, err
}

// consume consumes until ctx ends or the durable consumer is gone.
func (c *Consumer) consume(ctx context.Context, consumer natsjs.Consumer) error {
	received := make(chan natsjs.Msg, batchMessages)
	stopped := make(chan struct{})
	consuming, err := consumer.Consume(func(msg natsjs.Msg) {
		select {
		case received <- msg:
		case <-stopped:
			returnToStream(msg)
		}
	}, natsjs.PullMaxMessagesWithBytesLimit(batchMessages, max(bufferBytes, 2*int(c.js.Conn().MaxPayload()))))
	if err != nil {
		return fmt.Errorf("consume intake: %w", err)
	}
	defer func() {
		close(stopped)
		consuming.Drain() // Stop would leave delivered messages to their ack wait
		<-consuming.Closed()
		for {
			select {
			case msg := <-received:
				returnToStream(msg)
			default:
				return
			}
		}
	}()
	for {
		select {
		case msg := <-received:
			c.storeBatch(ctx, c.batch.GatherAfter(msg, received))
		case <-consuming.Closed():
			c.log.Warn("the intake's consumer has ended; looking for it again")
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

func returnToStream(msg natsjs.Msg) {
	_ = msg.Nak() // if it is lost, the message is delivered again after its ack wait
}

// storeBatch stores a batch. While Postgres is down, it keeps the batch and
// extends its ack wait: JetStream would only deliver it again.
func (c *Consumer) storeBatch(ctx context.Context, batch []natsjs.Msg) {
	pause := backoffFirst
	for {
		batch = c.tryBatch(batch)
		if len(batch) == 0 {
			return
		}
		if !service.Sleep(ctx, pause) {
			for _, msg := range batch {
				returnToStream(msg)
			}
			return
		}
		pause = min(2*pause, backoffMax)
		for _, msg := range batch {
			_ = msg.InProgress() // if it is lost, the message is delivered again, which is harmless
		}
	}
}

// tryBatch stores a batch and acknowledges or rejects its messages. It returns
// those that can't be stored now.
func (c *Consumer) tryBatch(batch []natsjs.Msg) (retry []natsjs.Msg) {
	drafts := make([]accept.Draft, 0, len(batch))
	msgs := make([]natsjs.Msg, 0, len(batch))
	for _, msg := range batch {
		d, err := c.draft(msg)
		if err != nil {
			c.log.Error("intake message without metadata", zap.String("subject", msg.Subject()), zap.Error(err))
			continue
		}
		drafts, msgs = append(drafts, d), append(msgs, msg)
	}
	failpoint.At(failpoint.IntakeFetched)
	results := c.acceptor.CreateMany(context.Background(), drafts)
	failpoint.At(failpoint.IntakeStored)
	var rejections []rejection
	for i, r := range results {
		if r.Err == nil {
			c.metrics.Message(metrics.SourceIntake, r.Repeated, nil)
			_ = msgs[i].Ack() // if it is lost, the message is delivered again and not stored again
			failpoint.At(failpoint.IntakePartAcked)
			continue
		}
		p := db.ProblemOf(message.WithSubject("the message", r.Err))
		if p.RetryAfter > 0 { // the message is not at fault
			retry = append(retry, msgs[i])
			continue
		}
		c.metrics.Message(metrics.SourceIntake, false, r.Err)
		if entries := c.rejectionEntries(msgs[i], p, r.Err); entries != nil {
			rejections = append(rejections, newRejection(msgs[i], entries))
		}
	}
	c.reject(rejections)
	return retry
}

// draft makes a draft of a message. Its deadlines are compared with the time at
// which it was published: it does not expire because this service was down.
func (c *Consumer) draft(msg natsjs.Msg) (accept.Draft, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return accept.Draft{}, err
	}
	return accept.Draft{
		Body:        msg.Data(),
		Scope:       accept.NATSScope(c.js.Topology),
		Key:         accept.KeyHeader{Name: natsjs.MsgIDHeader, Values: msg.Headers().Values(natsjs.MsgIDHeader)},
		Destination: c.js.IntakeDestination(msg.Subject()),
		ID:          message.DerivedID(meta.Timestamp, meta.Sequence.Stream, msg.Subject()),
		At:          meta.Timestamp,
		Trace:       events.TraceOf(msg.Headers()),
	}, nil
}
