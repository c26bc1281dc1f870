// Package recorder writes the senders' outcomes from EVENTS to Postgres.
package recorder

import (
	"context"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/batchconsumer"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

const (
	// maxBatch is how many outcomes are recorded at once.
	maxBatch = 1000
	// minWait and maxWait bound the wait between two batches that are not full.
	// The wait lets the next batch grow. Only a retry waits for its record, and
	// it waits longer than that anyway.
	minWait = 5 * time.Millisecond
	maxWait = 100 * time.Millisecond
	// retryAfter is the wait after EVENTS could not be read.
	retryAfter = 500 * time.Millisecond
)

// Recorder writes outcomes to Postgres, notifies the projector about the
// messages that they change, and only then acknowledges the events.
//
// Several recorders may run at once. An outcome that arrives twice, or late,
// does no harm (see RecordOutcomes in pkg/db).
type Recorder struct {
	component.Base
	events   *batchconsumer.Consumer
	notifier notifier
	verified *VerifiedProgress
	metrics  metrics
	failures *service.FailureTracker
}

// New returns a Recorder. It stores its progress in Postgres as far as verified
// allows.
func New(base component.Base, verified *VerifiedProgress) *Recorder {
	return &Recorder{
		Base:     base,
		events:   batchconsumer.New(base, base.JS.EventsStream(), events.RecorderConsumer, maxBatch),
		notifier: notifier{base},
		verified: verified,
		metrics:  newMetrics(base),
		failures: base.Track("recorder", service.StateDown, "recorder"),
	}
}

// Run records outcomes until ctx ends. It finishes the batch that it has.
func (r *Recorder) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		batch, err := r.events.Next(ctx)
		if len(batch) > 0 {
			began := time.Now()
			r.record(ctx, batch)
			if len(batch) < maxBatch {
				service.Sleep(ctx, min(max(time.Since(began), minWait), maxWait))
			}
		}
		if ctx.Err() == nil {
			r.failures.Report(err)
		}
		if err != nil {
			service.Sleep(ctx, service.Jitter(retryAfter))
		}
	}
	return nil
}

// received is an outcome, with its event.
type received struct {
	msg      natsjs.Msg
	sequence uint64 // of the event in EVENTS; 0: unknown
	outcome  db.Outcome
}

// record records the outcomes of a batch and acknowledges it. It retries for as
// long as Postgres is unreachable. When ctx ends, it gives back the outcomes
// that are not recorded.
func (r *Recorder) record(ctx context.Context, batch []natsjs.Msg) {
	defer batchconsumer.Hold(batch)()
	r.metrics.batch.Observe(float64(len(batch)))
	outcomes := r.parse(batch)
	finished := 0
	_ = splitBadData(outcomes, // the failure tracker has the error
		func(some []received) error {
			err := r.store(ctx, some)
			if err == nil {
				finished += len(some)
			}
			return err
		},
		func(o received, err error) {
			r.reject(o.msg, err)
			finished++
		})
	for _, o := range outcomes[finished:] {
		_ = o.msg.Nak() // another recorder gets it at once, not after the ack wait
	}
}

// parse returns the outcomes of a batch. It acknowledges other events, and
// rejects those that it cannot parse.
func (r *Recorder) parse(batch []natsjs.Msg) []received {
	outcomes := make([]received, 0, len(batch))
	for _, msg := range batch {
		outcome, found, err := outcomeOf(msg)
		switch {
		case err != nil:
			r.reject(msg, err)
			continue
		case !found:
			batchconsumer.Ack(msg)
			continue
		}
		o := received{msg: msg, outcome: outcome}
		if meta, err := msg.Metadata(); err == nil {
			o.sequence = meta.Sequence.Stream
		}
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// store writes outcomes to Postgres, in their order, and acknowledges them.
func (r *Recorder) store(ctx context.Context, outcomes []received) error {
	values := make([]db.Outcome, len(outcomes))
	complete, known := r.verified.upTo()
	for i, o := range outcomes {
		values[i] = o.outcome
		if known {
			values[i].Event = o.sequence
		}
	}
	changed := 0
	failpoint.At(failpoint.RecorderFetched)
	err := component.Retry(ctx, component.RecordTimeout, r.failures, func(ctx context.Context) (err error) {
		changed, err = r.Store.RecordAfter(ctx, complete, values, r.Lease)
		return err
	})
	if err != nil {
		return err
	}
	failpoint.At(failpoint.RecorderStored)
	err = component.Retry(ctx, component.RecordTimeout, r.failures, func(ctx context.Context) error {
		return r.notifier.notify(ctx, values)
	})
	if err != nil {
		return err
	}
	failpoint.At(failpoint.RecorderNotified)
	for _, o := range outcomes {
		batchconsumer.Ack(o.msg)
		failpoint.At(failpoint.RecorderPartAcked)
	}
	r.metrics.recorded(len(outcomes), changed)
	return nil
}

// reject terminates an event that cannot be recorded. Otherwise it would come
// again forever, and block everything that waits for the recorder.
func (r *Recorder) reject(msg natsjs.Msg, reason error) {
	r.metrics.rejected.Inc()
	r.Log.Error("skip an outcome that cannot be recorded",
		zap.String("subject", msg.Subject()), zap.String("event", msg.Headers().Get(natsjs.MsgIDHeader)), zap.Error(reason))
	_ = msg.TermWithReason("can't be recorded")
}
