package deliveries

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

// FetchWait is how long one Fetch waits for deliveries, and so how long an idle sender
// takes to stop.
const FetchWait = time.Second

// keepAlivesPerWait is how often in an ack wait a delivery gets a sign of life: every
// 10 s. So a held delivery outlasts the longest request at any time.
const keepAlivesPerWait = 9

// freshPerWait is the part of the ack wait for which a copy may have waited on
// the queue without needing a sign of life at once.
const freshPerWait = 3

// Receiver hands out the ids that wait for the senders of one destination. Fetch is for
// one goroutine; all other methods are safe for concurrent use.
//
// It buffers nothing: every delivery that the server has given to this client comes out
// of the Fetch that asked for it, so it can be kept alive, or returned at a shutdown.
type Receiver struct {
	js       *jetstream.Client
	consumer natsjs.Consumer
	name     string
	ackWait  atomic.Int64 // a Duration

	// A server that was killed forgets the last tenth of a second of what it
	// has delivered, and then delivers it once more as if for the first
	// time. So copies that were stored before this connection was made are
	// not certainly first, whatever their count says.
	session uint64 // reconnects when floor was taken
	floor   uint64 // last copy stored then
	known   bool

	// counted says that nothing which was delivered is forgotten without this
	// connection's breaking: the connection leads to the very server that
	// counts, or several servers agree on each delivery before it is made.
	counted atomic.Bool

	skew jetstream.ClockSkew // of the NATS server
}

// OpenReceiver finds the durable consumer of a destination. It returns ErrNotProvisioned
// if there is none.
func OpenReceiver(ctx context.Context, js *jetstream.Client, destination string) (*Receiver, error) {
	if err := jetstream.Connected(js.Conn()); err != nil {
		return nil, fmt.Errorf("open queue of %s: %w", destination, err)
	}
	consumer, err := js.Consumer(ctx, js.DeliveriesStream(), js.SenderConsumer(destination))
	if errors.Is(err, natsjs.ErrConsumerNotFound) || errors.Is(err, natsjs.ErrStreamNotFound) {
		return nil, fmt.Errorf("consumer %s: %w", js.SenderConsumer(destination), jetstream.ErrNotProvisioned)
	}
	if err != nil {
		return nil, fmt.Errorf("look up consumer %s: %w", js.SenderConsumer(destination), err)
	}
	q := &Receiver{js: js, consumer: consumer, name: js.SenderConsumer(destination)}
	q.learn(consumer.CachedInfo())
	return q, nil
}

// learn takes the ack wait from the server. It believes no longer one than
// Provision sets: what an older release has set is about to be shortened, and
// a holder that goes on for longer than the server waits is one of two.
func (q *Receiver) learn(info *natsjs.ConsumerInfo) {
	q.ackWait.Store(int64(min(info.Config.AckWait, events.SenderAckWait)))
}

// AckWait is how long a delivery without a sign of life stays with its holder, as the
// server last said.
func (q *Receiver) AckWait() time.Duration { return time.Duration(q.ackWait.Load()) }

// KeepAliveInterval is how often KeepAlive is to be called.
func (q *Receiver) KeepAliveInterval() time.Duration { return q.AckWait() / keepAlivesPerWait }

// Outlasts says that the copies of this queue are held for long enough for
// work that takes d, if they are kept.
func (q *Receiver) Outlasts(d time.Duration) bool {
	return q.AckWait()-q.KeepAliveInterval()-holdMargin > d
}

// Fetch asks for at most n copies and calls take for each the moment it
// arrives. It returns after n of them, or after FetchWait; when NATS goes
// away meanwhile, a second later. The end of ctx does not end it, because
// what the server has sent by then would be lost until its ack wait is over.
// What is no copy of an id is removed from the queue and reported as an
// error, after everything else was taken.
func (q *Receiver) Fetch(ctx context.Context, n int, take func(*Delivery)) error {
	if err := q.begin(ctx); err != nil {
		return err
	}
	asked, ackWait := time.Now(), q.AckWait() // nothing of this batch was delivered before
	batch, err := q.consumer.Fetch(n, natsjs.FetchMaxWait(FetchWait))
	if err != nil {
		return fmt.Errorf("fetch %d copies: %w", n, err)
	}
	var bad []error
	for msg := range batch.Messages() {
		c, err := newDelivery(msg, asked.Add(ackWait), ackWait)
		if err != nil {
			bad = append(bad, err, msg.TermWithReason("not a delivery"))
			continue
		}
		if q.skew.Now().Sub(c.stored) > ackWait/freshPerWait {
			// The server writes down when a copy was stored, not when it was
			// delivered: after a kill or under a new leader it would deliver
			// one that has waited for long to somebody else at once. A sign of
			// life is written down as it is. One that gets lost is followed by
			// the first Keep.
			_, _ = c.inProgress()
		}
		c.First = c.First && q.counted.Load() && c.sequence > q.floor && q.js.Conn().Stats().Reconnects == q.session
		take(c)
	}
	if err := batch.Error(); err != nil {
		q.known = false // a new leader, or none: look anew before the next batch
		bad = append(bad, fmt.Errorf("fetch %d copies: %w", n, err))
	}
	return errors.Join(bad...)
}

// begin notes what was stored when the connection was made.
func (q *Receiver) begin(ctx context.Context) error {
	session := q.js.Conn().Stats().Reconnects
	if q.known && session == q.session {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, jetstream.RequestTimeout)
	defer cancel()
	stream, err := q.look(ctx)
	if err != nil {
		return fmt.Errorf("look up last copy: %w", err)
	}
	q.session, q.floor, q.known = session, stream.CachedInfo().State.LastSeq, true
	return nil
}

// look asks for the stream, what time it is there, and who counts deliveries.
func (q *Receiver) look(ctx context.Context) (natsjs.Stream, error) {
	asked := time.Now()
	stream, err := q.js.Stream(ctx, q.js.DeliveriesStream())
	if err != nil {
		return nil, err
	}
	info := stream.CachedInfo()
	if !info.TimeStamp.IsZero() {
		q.skew.Measure(asked, info.TimeStamp, time.Now())
	}
	near := info.Cluster != nil && info.Cluster.Leader == q.js.Conn().ConnectedServerName()
	q.counted.Store(near || info.Config.Replicas > 1)
	return stream, nil
}

// Refresh asks the server for what it may have changed: what time it is, for
// Skew, and the ack wait.
func (q *Receiver) Refresh(ctx context.Context) error {
	if _, err := q.look(ctx); err != nil {
		return fmt.Errorf("look up stream of deliveries: %w", err)
	}
	_, err := q.Unacked(ctx)
	return err
}

// Unacked asks how many deliveries are with the senders, or wait after a nak
// with a delay.
func (q *Receiver) Unacked(ctx context.Context) (int, error) {
	consumer, err := q.js.Consumer(ctx, q.js.DeliveriesStream(), q.name)
	if err != nil {
		return 0, fmt.Errorf("look up consumer %s: %w", q.name, err)
	}
	q.learn(consumer.CachedInfo())
	return consumer.CachedInfo().NumAckPending, nil
}

// Skew is how far the server's clock is ahead. It may be used beside
// everything else.
func (q *Receiver) Skew() *jetstream.ClockSkew { return &q.skew }

// KeepAlive tells the server that the deliveries are being worked on, and returns once it
// knows. Called at every KeepAliveInterval, it holds them while NATS is there. It skips
// settled ones.
func (q *Receiver) KeepAlive(ctx context.Context, copies []*Delivery) error {
	began, ackWait := time.Now(), q.AckWait()
	var told []*Delivery
	for _, c := range copies {
		done, err := c.inProgress()
		if err != nil {
			return fmt.Errorf("keep %d copies: %w", len(copies), err)
		}
		if !done {
			told = append(told, c)
		}
	}
	if err := q.Flush(ctx); err != nil {
		return fmt.Errorf("keep %d copies: %w", len(copies), err)
	}
	for _, c := range told {
		c.extend(began.Add(ackWait))
	}
	return nil
}

// codeWrongSequence is the server's refusal of a publish whose expected last
// sequence of a subject is not the last.
const codeWrongSequence = 10071

// ScheduleRetry publishes the schedule of a retry, once, for a delivery that is held. It
// returns ErrNotHeld if it isn't: the schedule would bring a delivery that replaces
// another sender's, in the middle of its request.
//
// Checking the clock before the publish is not enough, since the network may delay it. So
// the server takes the schedule only while the delivery is the last of its id. A schedule
// that arrives after its retry has begun is refused too: another holder of the same
// delivery schedules the recorded retry, and starts no attempt.
func (q *Receiver) ScheduleRetry(ctx context.Context, c *Delivery, schedule events.OutboxMessage) error {
	if c.HoldExpired() {
		return fmt.Errorf("park message %s: %w", c.ID, ErrNotHeld)
	}
	if !q.js.Conn().IsConnected() {
		return fmt.Errorf("park message %s: %w", c.ID, jetstream.ErrUnavailable)
	}
	msg := jetstream.NewMsg(schedule)
	msg.Header[natsjs.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(c.sequence, 10)}
	msg.Header[natsjs.ExpectedLastSubjSeqSubjHeader] = []string{c.msg.Subject()}
	ctx, cancel := context.WithTimeout(ctx, jetstream.RequestTimeout)
	defer cancel()
	_, err := q.js.PublishMsg(ctx, msg, natsjs.WithRetryAttempts(0)) // the next try looks first whether it is held
	var refused *natsjs.APIError
	if errors.As(err, &refused) && refused.ErrorCode == codeWrongSequence {
		return fmt.Errorf("park message %s: %w", c.ID, ErrNotHeld)
	}
	if err != nil {
		return fmt.Errorf("park message %s: %w", c.ID, err)
	}
	return nil
}

// LacksRetry reports whether no retry of the message waits or has come back: the delivery
// is the last on its subject, and there is no schedule. The schedule is looked up first:
// one that fires in between has replaced the delivery by then.
func (q *Receiver) LacksRetry(ctx context.Context, c *Delivery, destination string) (bool, error) {
	stream, err := q.js.Stream(ctx, q.js.DeliveriesStream())
	if err != nil {
		return false, fmt.Errorf("look for the schedule of message %s: %w", c.ID, err)
	}
	_, err = stream.GetLastMsgForSubject(ctx, q.js.RetrySubject(destination, c.ID))
	if !errors.Is(err, natsjs.ErrMsgNotFound) {
		if err != nil {
			err = fmt.Errorf("look for the schedule of message %s: %w", c.ID, err)
		}
		return false, err
	}
	last, err := stream.GetLastMsgForSubject(ctx, q.js.DeliverSubject(destination, c.ID))
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a newer copy of message %s: %w", c.ID, err)
	}
	return last.Sequence == c.sequence, nil
}

// Flush returns once the server has everything that was sent before. Acks and naks get no
// response.
func (q *Receiver) Flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, jetstream.RequestTimeout)
	defer cancel()
	if err := q.js.Conn().FlushWithContext(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}
