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

// Sizes and times of the NATS intake.
const (
	intakeBatch      = 1000
	intakeBatchBytes = 8 << 20
	intakeBuffered   = 16 << 20 // bytes asked for ahead
	intakePause      = 200 * time.Millisecond
	intakeMaxPause   = 2 * time.Second
	// rejectWait bounds the publication of what a batch rejects: the next batch
	// waits for it.
	rejectWait = 3 * time.Second
	// returnDelay is when a message that could not be dealt with comes again, and
	// refusedDelay when one comes again that REJECTED does not take.
	returnDelay  = 5 * time.Second
	refusedDelay = 30 * time.Second
	// maxDeliveries is how often a message is tried that fails for a reason
	// nobody has foreseen; then it is rejected.
	maxDeliveries = 20
)

// somePublisher publishes entries, waits for their acknowledgement and returns
// those that had none; jetstream.Publisher is the one.
type somePublisher interface {
	PublishSome(ctx context.Context, entries []events.Entry) (missing []events.Entry, err error)
}

// intake takes in what other systems publish: it stores a batch, and
// acknowledges each of its messages once that is committed, or once the
// REJECTED stream has it. An entry that comes twice stores nothing the second
// time, since its id derives from its place in the stream.
type intake struct {
	js       *jetstream.Client
	acceptor *accept.Acceptor
	store    *db.Store
	composer events.Composer
	publish  somePublisher
	counts   *metrics.Metrics
	log      *zap.Logger
}

// Config are what the intake works with.
type Config struct {
	JS       *jetstream.Client
	Acceptor *accept.Acceptor
	Store    *db.Store
	Composer events.Composer
	Counts   *metrics.Metrics
	Log      *zap.Logger
}

// New returns an intake that takes messages in once Run works.
func New(p Config) *intake {
	return &intake{
		js: p.JS, acceptor: p.Acceptor, store: p.Store, composer: p.Composer,
		publish: jetstream.NewPublisher(p.JS), counts: p.Counts, log: p.Log,
	}
}

// Run takes messages in until ctx ends; what it holds by then is finished or
// given back.
func (in *intake) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		consumer, err := in.find(ctx)
		if err != nil {
			return err // ctx's, which counts as none
		}
		if err := in.consume(ctx, consumer); err != nil {
			return err
		}
	}
	return nil
}

// find waits for the durable consumer.
func (in *intake) find(ctx context.Context) (consumer natsjs.Consumer, err error) {
	err = service.WaitFor(ctx, in.log, "NATS intake (missing streams: run dispatch provision)", func(ctx context.Context) (err error) {
		if err := jetstream.Connected(in.js.Conn()); err != nil {
			return err
		}
		consumer, err = in.js.Consumer(ctx, in.js.IntakeStream(), events.IntakeConsumer)
		return err
	})
	return consumer, err
}

// consume works until ctx ends or the consumer is gone.
func (in *intake) consume(ctx context.Context, consumer natsjs.Consumer) error {
	arrived := make(chan natsjs.Msg, intakeBatch)
	stopped := make(chan struct{})
	consuming, err := consumer.Consume(func(msg natsjs.Msg) {
		select {
		case arrived <- msg:
		case <-stopped:
			in.giveBack(msg)
		}
	}, natsjs.PullMaxMessagesWithBytesLimit(intakeBatch, max(intakeBuffered, 2*int(in.js.Conn().MaxPayload()))))
	if err != nil {
		return fmt.Errorf("consume intake: %w", err)
	}
	defer func() {
		close(stopped)
		consuming.Drain() // not Stop, which would leave what was delivered to its ack wait
		<-consuming.Closed()
		for {
			select {
			case msg := <-arrived:
				in.giveBack(msg)
			default:
				return
			}
		}
	}()
	for {
		select {
		case msg := <-arrived:
			in.take(ctx, gather(msg, arrived))
		case <-consuming.Closed():
			in.log.Warn("the intake's consumer has ended, looking for it anew")
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// gather takes, with a first message, all that are there.
func gather(first natsjs.Msg, arrived <-chan natsjs.Msg) []natsjs.Msg {
	batch, size := []natsjs.Msg{first}, len(first.Data())
	for len(batch) < intakeBatch && size < intakeBatchBytes {
		select {
		case msg := <-arrived:
			batch, size = append(batch, msg), size+len(msg.Data())
		default:
			return batch
		}
	}
	return batch
}

func (in *intake) giveBack(msg natsjs.Msg) {
	_ = msg.Nak() // else it comes again after its ack wait
}

// Take stores a batch. While Postgres is away it keeps the batch, and tells
// JetStream so: it would only come again.
func (in *intake) take(ctx context.Context, batch []natsjs.Msg) {
	pause := intakePause
	for {
		batch = in.try(batch)
		if len(batch) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			for _, msg := range batch {
				in.giveBack(msg)
			}
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, intakeMaxPause)
		for _, msg := range batch {
			_ = msg.InProgress() // else it comes again, which is harmless
		}
	}
}

// try stores a batch and settles its messages; it returns those that can't be
// stored now.
func (in *intake) try(batch []natsjs.Msg) (rest []natsjs.Msg) {
	drafts := make([]accept.Draft, 0, len(batch))
	msgs := make([]natsjs.Msg, 0, len(batch))
	for _, msg := range batch {
		d, err := in.draft(msg)
		if err != nil {
			in.log.Error("intake message without metadata", zap.String("subject", msg.Subject()), zap.Error(err))
			continue
		}
		drafts, msgs = append(drafts, d), append(msgs, msg)
	}
	failpoint.At(failpoint.IntakeFetched)
	results := in.acceptor.CreateMany(context.Background(), drafts)
	failpoint.At(failpoint.IntakeStored)
	var rejected []rejected
	for i, r := range results {
		p := (*message.Problem)(nil)
		if r.Err != nil {
			p = db.ProblemOf(message.WithSubject("the message", r.Err))
		}
		switch {
		case p == nil:
			in.counts.Accepted("intake", r.Repeated, nil)
			in.ack(msgs[i])
			failpoint.At(failpoint.IntakePartAcked)
		case retryable(p):
			rest = append(rest, msgs[i])
		default:
			in.counts.Accepted("intake", false, r.Err)
			if entries := in.rejection(msgs[i], p, r.Err); entries != nil {
				rejected = append(rejected, newRejected(msgs[i], entries))
			}
		}
	}
	in.reject(rejected)
	return rest
}

// retryable says whether a problem is one of the moment, not of the message.
func retryable(p *message.Problem) bool { return p.RetryAfter > 0 }

func (in *intake) ack(msg natsjs.Msg) {
	// It is committed. Should the ack get lost, the entry comes again and
	// stores nothing.
	_ = msg.Ack()
}

// Draft reads an entry of the stream. Its deadlines are judged by the time at
// which it was published: a message is not wrong because this service was
// down.
func (in *intake) draft(msg natsjs.Msg) (accept.Draft, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return accept.Draft{}, err
	}
	return accept.Draft{
		Body:        msg.Data(),
		Scope:       accept.NATSScope(in.js.Topology),
		Key:         accept.KeyHeader{Header: natsjs.MsgIDHeader, Values: msg.Headers().Values(natsjs.MsgIDHeader)},
		Destination: in.js.IntakeDestination(msg.Subject()),
		Id:          message.DerivedID(meta.Timestamp, meta.Sequence.Stream, msg.Subject()),
		At:          meta.Timestamp,
		Trace:       events.TraceOf(msg.Headers()),
	}, nil
}
