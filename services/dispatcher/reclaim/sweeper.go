// Package reclaim finds ids that were emitted and then lost, and keeps them for
// the next tick.
package reclaim

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
	"github.com/message-dispatcher/dispatch/services/dispatcher/outbox"
	"github.com/message-dispatcher/dispatch/services/dispatcher/recovery"
)

const (
	// sweepBatch is how many expired leases are checked together.
	sweepBatch = 500
	// maxLost is how many lost messages a sweep finds at most: as many as the
	// work queue takes.
	maxLost = component.MaxQueued
	// batchTimeout bounds a batch. A sweep begins no further batch after half of
	// that.
	batchTimeout = 30 * time.Second
	// searchTimeout bounds the search of one sweep through EVENTS. A message
	// whose outcome it does not find by then is claimed again.
	searchTimeout = 10 * time.Second
	// maxClaimsWithoutOutcome is how many claims in a row may bring no outcome.
	maxClaimsWithoutOutcome = 20
)

// sweepPeriod is the time between two sweeps.
func sweepPeriod(lease time.Duration) time.Duration {
	return min(max(lease/10, time.Second), 30*time.Second)
}

// Sweeper looks for lost messages. A message is lost if it was emitted, its
// lease has expired, and it is nowhere: not on the work queue, not scheduled for
// a retry, and not in an outcome that is still to be recorded. The tick emits
// lost messages again, at the pace.
type Sweeper struct {
	component.Base
	outbox   outbox.Publisher
	repairer *recovery.Repairer
	buffer   *Buffer
	leases   *prometheus.CounterVec
	failures *service.FailureTracker
}

// NewSweeper returns a Sweeper that fills buffer.
func NewSweeper(base component.Base, buffer *Buffer, repairer *recovery.Repairer) *Sweeper {
	return &Sweeper{
		Base: base, outbox: outbox.NewPublisher(base), repairer: repairer, buffer: buffer,
		leases: base.CounterVec("expired_leases_total",
			"Leases that expired, by what the sweep found: renewed (still on its way), lost (emitted again) or given_up (FAILED).",
			"found", "renewed", "lost", "given_up"),
		failures: base.Track("sweep", service.StateDegraded, "lease sweep"),
	}
}

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	return s.LoopConnected(ctx, service.Loop{Every: sweepPeriod(s.Lease), Failures: s.failures}, s.sweep)
}

// sweep checks the messages whose lease has expired, batch by batch, beginning
// with the oldest lease. It finds again what the previous sweep found and no
// tick has claimed.
func (s *Sweeper) sweep(ctx context.Context) error {
	began := time.Now()
	s.buffer.reset()
	var after db.ExpiredLease
	for time.Since(began) < batchTimeout/2 {
		listed, err := s.batch(ctx, after, began.Add(searchTimeout))
		if err != nil || len(listed) < sweepBatch || s.buffer.size() >= maxLost {
			return err
		}
		after = listed[len(listed)-1]
	}
	return nil
}

// batch checks the next messages. The order of its steps makes it safe:
//
//  1. List messages whose lease has expired.
//  2. Stop if a claim that old is not published yet. So every listed message was
//     published.
//  3. Ask the stream for each of them.
//  4. Wait until the recorder has recorded everything that EVENTS holds now. A
//     delivery that was gone in step 3 had left its outcome there.
//  5. Search EVENTS for their outcomes, because Postgres may have been restored
//     to a state without them.
//  6. List again. A message that is in both lists and was not in the stream is
//     lost.
func (s *Sweeper) batch(ctx context.Context, after db.ExpiredLease, searchUntil time.Time) (listed []db.ExpiredLease, err error) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	listed, err = s.list(ctx, after)
	if err != nil || len(listed) == 0 {
		return nil, err
	}
	claims, err := s.Store.UnpublishedClaims(ctx, s.Lease)
	if err != nil || len(claims) > 0 {
		return nil, err
	}
	held, gone, err := s.checkQueue(ctx, listed)
	if err != nil {
		return nil, err
	}
	failpoint.At(failpoint.SweepAsked)
	if err := s.Store.RenewLeases(ctx, held, s.Lease); err != nil {
		return nil, err
	}
	failpoint.At(failpoint.SweepRenewed)
	s.leases.WithLabelValues("renewed").Add(float64(len(held)))
	if len(gone) == 0 {
		return listed, nil
	}
	if err := s.AwaitRecorder(ctx); err != nil {
		return nil, err
	}
	searching, end := context.WithDeadline(ctx, searchUntil)
	defer end()
	s.repairer.RestoreOutcomesOf(searching, gone)
	again, err := s.list(ctx, after)
	if err != nil {
		return nil, err
	}
	return listed, s.handOver(ctx, again, gone)
}

func (s *Sweeper) list(ctx context.Context, after db.ExpiredLease) ([]db.ExpiredLease, error) {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	return s.Store.ExpiredLeases(ctx, after, sweepBatch)
}

// handOver puts those listed messages into the buffer that are gone from the
// stream. It gives up those that were claimed too often without an outcome.
func (s *Sweeper) handOver(ctx context.Context, listed, gone []db.ExpiredLease) error {
	isGone := make(map[db.Delivery]bool, len(gone))
	for _, l := range gone {
		isGone[deliveryOf(l)] = true
	}
	var lost, hopeless []db.ExpiredLease
	for _, l := range listed {
		switch {
		case !isGone[deliveryOf(l)]:
		case l.ClaimsWithoutOutcome >= maxClaimsWithoutOutcome:
			hopeless = append(hopeless, l)
		default:
			lost = append(lost, l)
		}
	}
	s.buffer.add(lost)
	failpoint.At(failpoint.SweepFound)
	s.leases.WithLabelValues("lost").Add(float64(len(lost)))
	return s.giveUp(ctx, hopeless)
}

// giveUp ends messages as FAILED and publishes that.
func (s *Sweeper) giveUp(ctx context.Context, hopeless []db.ExpiredLease) error {
	if len(hopeless) == 0 {
		return nil
	}
	began := time.Now()
	failed, outboxID, err := s.Store.GiveUp(ctx, hopeless, func(failed []message.Message) []byte {
		return events.EncodeOutbox(s.Builder.Transitions(message.EventFailed, failed))
	})
	if err != nil {
		return err
	}
	if len(failed) > 0 {
		s.Log.Warn("gave up messages whose claims brought no outcome",
			zap.Int("messages", len(failed)), zap.Int("claims_without_outcome", maxClaimsWithoutOutcome))
		s.leases.WithLabelValues("given_up").Add(float64(len(failed)))
	}
	s.outbox.Publish(ctx, began, outboxID, s.Builder.Transitions(message.EventFailed, failed))
	return nil
}

func deliveryOf(l db.ExpiredLease) db.Delivery {
	return db.Delivery{ID: l.ID, ClaimNumber: l.ClaimNumber}
}
