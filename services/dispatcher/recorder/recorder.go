package recorder

import (
	"context"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/batchconsumer"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// recordBatch is how many outcomes are recorded at once.
const recordBatch = 1000

// minRecordRest and maxRecordRest bound the rest between two batches: nobody
// waits for a record but a retry, and that for longer.
const (
	minRecordRest = 5 * time.Millisecond
	maxRecordRest = 100 * time.Millisecond
)

// Recorder writes the senders' outcomes to Postgres, notes for the copy in
// Redis which messages they were about, and only then acknowledges them.
// Several are harmless beside each other, and so is an event that comes twice
// or late (see RecordOutcomes in pkg/db).
type Recorder struct {
	component.Base
	events   *batchconsumer.Consumer
	notes    notes // for the copy in Redis
	progress *Progress
	metrics  *recorderMetrics
	trouble  *service.FailureTracker
}

// NewRecorder returns one that notes in Postgres how far it is, as far as
// progress knows.
func NewRecorder(base component.Base, progress *Progress) *Recorder {
	return &Recorder{
		Base:     base,
		events:   batchconsumer.NewConsumer(base, base.Topology.EventsStream(), events.RecorderConsumer, recordBatch),
		notes:    notes{base},
		progress: progress,
		metrics:  newRecorderMetrics(base),
		trouble:  base.Watch("recorder", service.StateDown, "recorder"),
	}
}

// Run records until ctx ends, and finishes the batch that it has.
func (r *Recorder) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		batch, err := r.events.Next(ctx)
		if len(batch) > 0 {
			began := time.Now()
			r.record(ctx, batch)
			if len(batch) < recordBatch {
				component.Rest(ctx, max(time.Since(began), minRecordRest), maxRecordRest)
			}
		}
		if ctx.Err() == nil {
			r.trouble.Report(err)
		}
		if err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(component.Jitter(500 * time.Millisecond)):
		}
	}
	return nil
}

// noteWait is how long a note is tried before it is left to the relay.
const noteWait = 3 * time.Second

// notes tells the copier which messages outcomes were about.
type notes struct {
	component.Base
}

// publish leaves to the outbox what NATS does not take: outcomes wait for
// nothing that is for Redis alone.
func (n notes) publish(ctx context.Context, outcomes []db.Outcome) error {
	ids := make([]message.ID, len(outcomes))
	for i, o := range outcomes {
		ids[i] = o.ID
	}
	trying, cancel := context.WithTimeout(ctx, noteWait)
	defer cancel()
	missing, err := n.Publisher.PublishSome(trying, n.Composer.Noted(ids))
	if err == nil {
		return nil
	}
	return n.Store.InsertOutboxEvents(ctx, events.Encode(missing))
}

// told is an event with the outcome that it tells.
type told struct {
	msg     natsjs.Msg
	outcome db.Outcome
}

// record writes a batch and acknowledges it.
func (r *Recorder) record(ctx context.Context, batch []natsjs.Msg) {
	defer batchconsumer.Hold(batch)()
	r.metrics.batch.Observe(float64(len(batch)))

	outcomes := make([]told, 0, len(batch))
	for _, msg := range batch {
		if msg.Headers().Get(events.HeaderOutcome) == "" {
			batchconsumer.Ack(msg)
			continue
		}
		outcome, err := outcomeOf(msg.Data())
		if err != nil {
			r.refuse(msg, err)
			continue
		}
		if meta, err := msg.Metadata(); err == nil {
			outcome.Event = meta.Sequence.Stream
		}
		outcomes = append(outcomes, told{msg, outcome})
	}
	if len(outcomes) == 0 {
		return
	}
	for _, left := range r.write(ctx, outcomes) {
		_ = left.msg.Nak() // whoever asks next has it sooner than after the ack wait
	}
}

// write records outcomes, in their order, and acknowledges them. It keeps
// them for as long as Postgres is away, and returns those that are left when
// ctx is over. Of those that Postgres refuses as a whole it finds the one
// that is to blame, and goes on without it.
func (r *Recorder) write(ctx context.Context, outcomes []told) (left []told) {
	values := make([]db.Outcome, len(outcomes))
	complete, known := r.progress.after()
	for i, o := range outcomes {
		if values[i] = o.outcome; !known {
			values[i].Event = 0
		}
	}
	moved := 0
	failpoint.At(failpoint.RecorderFetched)
	err := component.Retry(ctx, component.RecordTimeout, r.trouble, func(ctx context.Context) (err error) {
		moved, err = r.Store.RecordAfter(ctx, complete, values, r.Lease)
		return err
	})
	if err == nil {
		failpoint.At(failpoint.RecorderStored)
		err = component.Retry(ctx, component.RecordTimeout, r.trouble, func(ctx context.Context) error { return r.notes.publish(ctx, values) })
	}
	switch {
	case err == nil:
		failpoint.At(failpoint.RecorderNotified)
		for _, o := range outcomes {
			batchconsumer.Ack(o.msg)
			failpoint.At(failpoint.RecorderPartAcked)
		}
		r.metrics.recorded(len(outcomes), moved)
		return nil
	case !db.BadData(err):
		return outcomes
	case len(outcomes) == 1:
		r.refuse(outcomes[0].msg, err)
		return nil
	}
	half := len(outcomes) / 2
	if left = r.write(ctx, outcomes[:half]); len(left) > 0 {
		return append(left, outcomes[half:]...)
	}
	return r.write(ctx, outcomes[half:])
}

// refuse ends an event that can't be recorded: it would come again for ever,
// and everybody who waits for the recorder would wait for it.
func (r *Recorder) refuse(msg natsjs.Msg, reason error) {
	r.metrics.refused.Inc()
	r.Log.Error("an outcome can't be recorded and is left out",
		zap.String("subject", msg.Subject()), zap.String("event", msg.Headers().Get(natsjs.MsgIDHeader)), zap.Error(reason))
	_ = msg.TermWithReason("can't be recorded")
}
