package recovery

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
	"github.com/message-dispatcher/dispatch/services/dispatcher/outbox"
	"github.com/message-dispatcher/dispatch/services/dispatcher/recorder"
)

const (
	// repairTerm is for how long one dispatcher alone repairs; it is renewed
	// each repairRenew. One that dies is followed by another after it.
	repairTerm  = 15 * time.Second
	repairRenew = 4 * time.Second
	// repairAfter is how long after a loss was noticed copies are looked for:
	// what was claimed before it may be published until then.
	repairAfter = outbox.AbandonedAfter
	// repairRecorded bounds the wait for the recorder, after which the repair
	// begins once more.
	repairRecorded = time.Minute
)

// errRepairTaken means that another dispatcher has taken the repair over.
var errRepairTaken = errors.New("the repair took too long, and another dispatcher does it now")

// Repairer brings back what JetStream knows of commits that Postgres has lost,
// and lets emissions go on. Each of its steps may be repeated:
//
//  1. outcomes and cancels that EVENTS tells of are recorded again;
//  2. copies on the work queue give their messages the claim that was lost;
//  3. the recorder passes what EVENTS holds by then: a copy that was gone at 2
//     had left its outcome there;
//  4. the interval begins with the last emission, and claim numbers go on above
//     all that were given out before.
//
// What nobody else knows is lost for good: messages, and changes by users.
type Repairer struct {
	component.Base
	outbox   outbox.Publisher
	restored *prometheus.CounterVec

	id      message.ID // of this dispatcher
	renewed time.Time
}

// NewRepairer returns one that has nothing to repair yet.
func NewRepairer(base component.Base) *Repairer {
	return &Repairer{
		Base:     base,
		outbox:   outbox.NewPublisher(base),
		restored: base.CounterVec("restored_changes_total", "Changes that Postgres had lost and that were brought back from JetStream, by kind: outcome, cancel or claim.", "kind", "outcome", "cancel", "claim"),
		id:       message.NewID(time.Now()),
	}
}

// run repairs, unless another dispatcher does.
func (r *Repairer) run(ctx context.Context) error {
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
	outcomes, err := r.readOutcomes(ctx, from)
	if err != nil {
		return err
	}
	cancels, err := r.readCancels(ctx, from)
	if err != nil {
		return err
	}
	failpoint.At(failpoint.RepairRead)
	if err := r.await(ctx, repairAfter-repair.Age); err != nil {
		return err
	}
	// Once more, with what was told meanwhile: a copy's claim must not be raised
	// past an outcome that is not yet recorded.
	late, err := r.readOutcomes(ctx, acked+1)
	if err != nil {
		return err
	}
	claims, err := r.restoreClaims(ctx)
	if err != nil {
		return err
	}
	failpoint.At(failpoint.RepairRestored)
	if err := r.awaitRecorded(ctx); err != nil {
		return err
	}
	if err := r.Store.ResetRecorderProgress(ctx, acked); err != nil {
		return err
	}
	finished, err := r.finish(ctx, repair)
	if err == nil && finished {
		r.Log.Info("Postgres has again what events tell of the commits that it has lost, or may have",
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

// keep renews the repair when it is time to.
func (r *Repairer) keep(ctx context.Context) error {
	if time.Since(r.renewed) < repairRenew {
		return nil
	}
	_, taken, err := r.take(ctx)
	if err == nil && !taken {
		err = errRepairTaken
	}
	return err
}

// span returns up to which event the recorder has acknowledged all, and the
// first event that Postgres may not have.
func (r *Repairer) span(ctx context.Context) (acked, from uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, lossWait)
	defer cancel()
	recorder, err := r.JS.Consumer(ctx, r.Topology.EventsStream(), events.RecorderConsumer)
	if err != nil {
		return 0, 0, fmt.Errorf("look up the recorder: %w", err)
	}
	noted, err := r.Store.RecorderProgress(ctx)
	if err != nil {
		return 0, 0, err
	}
	acked = recorder.CachedInfo().AckFloor.Stream
	return acked, min(noted.CompleteSequence, acked) + 1, nil
}

// readOutcomes records again what EVENTS tells from a sequence on.
func (r *Repairer) readOutcomes(ctx context.Context, from uint64) (restored int, err error) {
	err = streams.ReadEvents(ctx, r.JS, recorder.OutcomeKinds(), from, func(batch []natsjs.Msg) error {
		outcomes, _ := recorder.Outcomes(batch, math.MaxUint64)
		moved, err := recorder.RecordAgain(ctx, r.Store, outcomes, r.Lease)
		if err != nil {
			return err
		}
		restored += moved
		r.restored.WithLabelValues("outcome").Add(float64(moved))
		return r.keep(ctx)
	})
	return restored, err
}

// readCancels makes cancels again that EVENTS tells of from a sequence on. A
// message that was claimed after its cancel had been brought back by a user.
func (r *Repairer) readCancels(ctx context.Context, from uint64) (restored int, err error) {
	cancels, claimed := map[message.ID]db.CancelRecord{}, map[message.ID]int64{}
	kinds := []message.EventType{message.EventCancelled, message.EventQueued}
	err = streams.ReadEvents(ctx, r.JS, kinds, from, func(batch []natsjs.Msg) error {
		for _, msg := range batch {
			c, kind, ok := moveOf(msg)
			switch {
			case !ok:
			case kind == message.EventQueued:
				claimed[c.ID] = max(claimed[c.ID], c.Version)
			case cancels[c.ID].Version < c.Version:
				cancels[c.ID] = c
			}
		}
		return r.keep(ctx)
	})
	list := make([]db.CancelRecord, 0, len(cancels))
	for id, c := range cancels {
		if claimed[id] < c.Version {
			list = append(list, c)
		}
	}
	if err != nil || len(list) == 0 {
		return 0, err
	}
	bounded, cancel := context.WithTimeout(ctx, component.RecordTimeout)
	defer cancel()
	restored, err = r.Store.RestoreCancels(bounded, list)
	r.restored.WithLabelValues("cancel").Add(float64(restored))
	return restored, err
}

// moveOf reads the id of an event of a move that Postgres made:
// message.v<version>.<kind>.
func moveOf(msg natsjs.Msg) (c db.CancelRecord, kind message.EventType, ok bool) {
	words := strings.Split(msg.Headers().Get(natsjs.MsgIDHeader), ".")
	meta, err := msg.Metadata()
	if len(words) != 3 || err != nil {
		return c, "", false
	}
	version, isVersion := strings.CutPrefix(words[1], "v")
	if c.ID, err = message.ParseID(words[0]); err != nil || !isVersion {
		return c, "", false
	}
	c.Version, err = strconv.ParseInt(version, 10, 64)
	c.At = meta.Timestamp
	return c, message.EventType(words[2]), err == nil
}

// await waits, and keeps the repair meanwhile.
func (r *Repairer) await(ctx context.Context, wait time.Duration) error {
	for over := time.Now().Add(wait); time.Until(over) > 0; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(time.Until(over), repairRenew)):
		}
		if err := r.keep(ctx); err != nil {
			return err
		}
	}
	return nil
}

// restoreClaims gives messages the claims of their copies on the work queue.
func (r *Repairer) restoreClaims(ctx context.Context) (restored int, err error) {
	err = deliveries.ReadDeliveries(ctx, r.JS, func(found []deliveries.Emitted) error {
		copies := make([]db.Delivery, len(found))
		for i, e := range found {
			copies[i] = db.Delivery(e)
		}
		for some := range slices.Chunk(copies, r.Store.RestoreBatchSize(len(copies))) {
			n, err := r.restore(ctx, some)
			if err != nil {
				return err
			}
			restored += n
		}
		return r.keep(ctx)
	})
	return restored, err
}

// restore restores the claims of some copies, and publishes that.
func (r *Repairer) restore(ctx context.Context, copies []db.Delivery) (int, error) {
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, component.PublishTimeout)
	defer cancel()
	moved, outboxID, err := r.Store.RestoreClaims(bounded, copies, r.Lease, func(moved []message.Message) []byte {
		return events.Encode(r.Composer.Moved(message.EventQueued, moved))
	})
	if err != nil {
		return 0, err
	}
	r.outbox.Publish(ctx, began, outboxID, r.Composer.Moved(message.EventQueued, moved))
	r.restored.WithLabelValues("claim").Add(float64(len(moved)))
	return len(moved), nil
}

// awaitRecorded waits until the recorder has passed what EVENTS holds now.
func (r *Repairer) awaitRecorded(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, repairRecorded)
	defer cancel()
	last, err := r.Positions.Last(ctx)
	if err != nil {
		return err
	}
	for {
		some, cancel := context.WithTimeout(ctx, repairRenew)
		err := r.Positions.AwaitRecorded(some, last)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if err := r.keep(ctx); err != nil {
			return err
		}
	}
}

// finish lets emissions go on.
func (r *Repairer) finish(ctx context.Context, repair db.Repair) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lossWait)
	defer cancel()
	ago, err := deliveries.EmittedAgo(ctx, r.JS)
	if err != nil {
		return false, err
	}
	// The time is above every number that was given out before: those were fewer
	// than the milliseconds.
	now, err := r.Store.Clock(ctx)
	if err != nil {
		return false, err
	}
	return r.Store.FinishRepair(ctx, repair, ago, message.ClaimNumber(now.UnixMilli()))
}
