package recovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
	"github.com/message-dispatcher/dispatch/services/dispatcher/outbox"
)

const (
	// repairTerm is for how long one dispatcher has the repair to itself. It
	// renews that every repairRenew. If it dies, another one follows.
	repairTerm  = 15 * time.Second
	repairRenew = 4 * time.Second
	// readQueueAfter is the time from the notice of a loss to the reading of the
	// work queue. Claims made before the loss may be published until then.
	readQueueAfter = outbox.AbandonedAfter
	// recorderTimeout bounds the wait for the recorder. After that, the repair
	// begins again.
	recorderTimeout = time.Minute
)

var errRepairTakenOver = errors.New("the repair took too long, and another dispatcher does it now")

// Repairer restores what JetStream knows about lost commits, and then lets
// emissions continue. Each of its steps can be repeated:
//
//  1. Record again the outcomes and cancels in EVENTS.
//  2. Give messages the claim of their delivery on the work queue.
//  3. Wait until the recorder has recorded what EVENTS holds then. A delivery
//     that was gone in step 2 had left its outcome there.
//  4. Let the interval begin with the last emission, and claim numbers continue
//     above all that were given out.
//
// What only Postgres knew is lost: new messages, and changes by users.
type Repairer struct {
	component.Base
	outbox   outbox.Publisher
	restored *prometheus.CounterVec

	id      message.ID // of this dispatcher
	renewed time.Time
}

// NewRepairer returns a Repairer.
func NewRepairer(base component.Base) *Repairer {
	return &Repairer{
		Base:   base,
		outbox: outbox.NewPublisher(base),
		restored: base.CounterVec("restored_changes_total",
			"Changes that Postgres had lost and that were restored from JetStream, by kind: outcome, cancel or claim.",
			"kind", "outcome", "cancel", "claim"),
		id: message.NewID(time.Now()),
	}
}

// repair repairs, unless another dispatcher does.
func (r *Repairer) repair(ctx context.Context) error {
	repair, taken, err := r.take(ctx)
	if err != nil || !taken {
		return err
	}
	acked, from, err := r.span(ctx)
	if err != nil {
		return err
	}
	r.Log.Info("reading events again", zap.Uint64("from", from))
	failpoint.At(failpoint.RepairStarted)
	outcomes, err := r.restoreOutcomes(ctx, from)
	if err != nil {
		return err
	}
	cancels, err := r.restoreCancels(ctx, from)
	if err != nil {
		return err
	}
	failpoint.At(failpoint.RepairRead)
	if err := r.wait(ctx, readQueueAfter-repair.Age); err != nil {
		return err
	}
	// Again, for what was published meanwhile: the claim of a delivery must not
	// be raised past an outcome that is not yet recorded.
	late, err := r.restoreOutcomes(ctx, acked+1)
	if err != nil {
		return err
	}
	claims, err := r.restoreClaims(ctx)
	if err != nil {
		return err
	}
	failpoint.At(failpoint.RepairRestored)
	if err := r.awaitRecorder(ctx); err != nil {
		return err
	}
	if err := r.Store.ResetRecorderProgress(ctx, acked); err != nil {
		return err
	}
	finished, err := r.finish(ctx, repair)
	if err == nil && finished {
		r.Log.Info("restored in Postgres what events hold of the commits that it has lost, or may have",
			zap.Int("outcomes", outcomes+late), zap.Int("cancels", cancels), zap.Int("claims", claims))
	}
	return err
}

// take takes the repair, or renews it.
func (r *Repairer) take(ctx context.Context) (db.Repair, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	repair, taken, err := r.Store.TakeRepair(ctx, r.id, repairTerm)
	if taken {
		r.renewed = time.Now()
	}
	return repair, taken, err
}

// renew renews the repair when that is due. It returns errRepairTakenOver if
// another dispatcher has it.
func (r *Repairer) renew(ctx context.Context) error {
	if time.Since(r.renewed) < repairRenew {
		return nil
	}
	_, taken, err := r.take(ctx)
	if err == nil && !taken {
		err = errRepairTakenOver
	}
	return err
}

// span returns up to which event the recorder has acknowledged everything, and
// the first event that Postgres may not have.
func (r *Repairer) span(ctx context.Context) (acked, from uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	consumer, err := r.JS.Consumer(ctx, r.JS.EventsStream(), events.RecorderConsumer)
	if err != nil {
		return 0, 0, fmt.Errorf("look up the recorder: %w", err)
	}
	stored, err := r.Store.RecorderProgress(ctx)
	if err != nil {
		return 0, 0, err
	}
	acked = consumer.CachedInfo().AckFloor.Stream
	return acked, min(stored.CompleteSequence, acked) + 1, nil
}

// wait waits, and renews the repair meanwhile.
func (r *Repairer) wait(ctx context.Context, d time.Duration) error {
	for end := time.Now().Add(d); time.Until(end) > 0; {
		if !service.Sleep(ctx, min(time.Until(end), repairRenew)) {
			return ctx.Err()
		}
		if err := r.renew(ctx); err != nil {
			return err
		}
	}
	return nil
}

// awaitRecorder waits until the recorder has recorded what EVENTS holds now,
// and renews the repair meanwhile.
func (r *Repairer) awaitRecorder(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recorderTimeout)
	defer cancel()
	last, err := r.RecorderProgress.LastEvent(ctx)
	if err != nil {
		return err
	}
	for {
		waiting, cancel := context.WithTimeout(ctx, repairRenew)
		err := r.RecorderProgress.AwaitRecorded(waiting, last)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if err := r.renew(ctx); err != nil {
			return err
		}
	}
}

// finish lets emissions continue.
func (r *Repairer) finish(ctx context.Context, repair db.Repair) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	sinceEmission, err := deliveries.LastEmission(ctx, r.JS)
	if err != nil {
		return false, err
	}
	// The time in milliseconds is above every number that was given out before,
	// because there were fewer numbers than milliseconds.
	now, err := r.Store.Clock(ctx)
	if err != nil {
		return false, err
	}
	return r.Store.FinishRepair(ctx, repair, sinceEmission, message.ClaimNumber(now.UnixMilli()))
}
