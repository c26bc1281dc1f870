package reclaim

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
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
	// sweepBatch is how many lost leases are looked at together, and mostLost
	// how many a sweep finds at most: as many as the work queue takes.
	sweepBatch = 500
	mostLost   = component.MaxQueued
	// sweepWithin bounds a batch. A sweep that has taken half as long begins
	// no other.
	sweepWithin = 30 * time.Second
	// searchWithin bounds a sweep's search for outcomes of what seems lost. What
	// it does not find by then is claimed again, as if it was not there.
	searchWithin = 10 * time.Second
	// maxFruitless is how many claims in a row may bring no outcome.
	maxFruitless = 20
)

// sweepPeriod is the time between two sweeps.
func sweepPeriod(lease time.Duration) time.Duration {
	return min(max(lease/10, time.Second), 30*time.Second)
}

// Sweeper looks for ids that were emitted and are nowhere any more: neither
// on the work queue, nor parked, nor in an outcome that is not yet recorded.
// Those go to the tick, to be emitted anew at the pace.
type Sweeper struct {
	component.Base
	outbox  outbox.Publisher
	repair  *recovery.Repairer
	lost    *Buffer
	leases  *prometheus.CounterVec
	trouble *service.FailureTracker

	search time.Time // until when a sweep may look through EVENTS
}

// NewSweeper returns one that puts into lost what it finds.
func NewSweeper(base component.Base, lost *Buffer, repair *recovery.Repairer) *Sweeper {
	return &Sweeper{
		Base: base, outbox: outbox.NewPublisher(base), repair: repair, lost: lost,
		leases:  base.CounterVec("leases_total", "Leases that ran out, by what was found: renewed, lost or given_up.", "found", "renewed", "lost", "given_up"),
		trouble: base.Watch("sweep", service.StateDegraded, "lease sweep"),
	}
}

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	period := sweepPeriod(s.Lease)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(component.Jitter(period)):
		}
		if !s.JS.Conn().IsConnected() {
			continue
		}
		err := s.sweep(ctx)
		if ctx.Err() == nil {
			s.trouble.Report(err)
		}
	}
}

// sweep finds out which of the messages whose lease ran out are lost, batch by
// batch, the longest lost first. What the sweep before has found and no tick
// has taken is found again.
func (s *Sweeper) sweep(ctx context.Context) error {
	began := time.Now()
	s.search = began.Add(searchWithin)
	s.lost.put(nil)
	var after db.ExpiredLease
	for time.Since(began) < sweepWithin/2 {
		listed, err := s.batch(ctx, after)
		if err != nil || len(listed) < sweepBatch || s.lost.add(nil) >= mostLost {
			return err
		}
		after = listed[len(listed)-1]
	}
	return nil
}

// batch looks at the next ones. The order of its steps is what makes it sure:
//
//  1. list those whose lease ran out;
//  2. no claim that old is unpublished, so what is listed was published;
//  3. ask the stream for each of them;
//  4. wait until the recorder has passed what EVENTS holds then: a copy that
//     was gone at 3 had left its outcome there;
//  5. look through EVENTS for their outcomes: Postgres may have been put back to
//     before it had them;
//  6. list again: what is in both lists and was not in the stream is lost.
func (s *Sweeper) batch(ctx context.Context, after db.ExpiredLease) (listed []db.ExpiredLease, err error) {
	ctx, cancel := context.WithTimeout(ctx, sweepWithin)
	defer cancel()
	listed, err = s.list(ctx, after)
	if err != nil || len(listed) == 0 {
		return nil, err
	}
	claims, err := s.Store.UnpublishedClaims(ctx, s.Lease)
	if err != nil || len(claims) > 0 {
		return nil, err
	}
	held, gone, err := s.look(ctx, listed)
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
	wait, done := context.WithTimeout(ctx, component.RecorderTimeout)
	defer done()
	if err := component.AwaitAllRecorded(wait, s.Positions); err != nil {
		return nil, err
	}
	searching, end := context.WithDeadline(ctx, s.search)
	defer end()
	s.repair.RecordGone(searching, listed, gone)
	again, err := s.list(ctx, after)
	if err != nil {
		return nil, err
	}
	return listed, s.judge(ctx, again, gone)
}

func (s *Sweeper) list(ctx context.Context, after db.ExpiredLease) ([]db.ExpiredLease, error) {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	return s.Store.ExpiredLeases(ctx, after, sweepBatch)
}

// look divides messages by whether a copy of their id is in the stream.
func (s *Sweeper) look(ctx context.Context, listed []db.ExpiredLease) (held []db.ExpiredLease, gone map[db.Delivery]bool, err error) {
	deliveries, err := s.JS.Stream(ctx, s.Topology.DeliveriesStream())
	if err != nil {
		return nil, nil, fmt.Errorf("look up deliveries: %w", err)
	}
	gone = map[db.Delivery]bool{}
	floors := map[string]uint64{}
	for _, lost := range listed {
		floor, known := floors[lost.Destination]
		if !known {
			if floor, err = s.floor(ctx, deliveries, lost.Destination); err != nil {
				return nil, nil, err
			}
			floors[lost.Destination] = floor
		}
		there, err := s.isThere(ctx, deliveries, lost, floor)
		switch {
		case err != nil:
			return nil, nil, err
		case there:
			held = append(held, lost)
		default:
			gone[db.Delivery{ID: lost.ID, ClaimNumber: lost.ClaimNumber}] = true
		}
	}
	return held, gone, nil
}

// floor is up to which the senders of a destination have acknowledged all. A
// copy that lies there nevertheless is never delivered: the stream had lost its
// end, and gave out a number for it that the senders had had before.
func (s *Sweeper) floor(ctx context.Context, deliveries natsjs.Stream, destination string) (uint64, error) {
	consumer, err := deliveries.Consumer(ctx, s.Topology.SenderConsumer(destination))
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up the senders of %s: %w", destination, err)
	}
	return consumer.CachedInfo().AckFloor.Stream, nil
}

// isThere asks for the schedule first: one that fires in between is found on
// the work queue then. (One that is parked in between has left its outcome.)
func (s *Sweeper) isThere(ctx context.Context, deliveries natsjs.Stream, lost db.ExpiredLease, floor uint64) (bool, error) {
	parked, deliver := s.Topology.Park(lost.Destination, lost.ID), s.Topology.Deliver(lost.Destination, lost.ID)
	for _, subject := range []string{parked, deliver} {
		msg, err := deliveries.GetLastMsgForSubject(ctx, subject)
		if err == nil && (subject == parked || msg.Sequence > floor) {
			return true, nil
		}
		if err != nil && !errors.Is(err, natsjs.ErrMsgNotFound) {
			return false, fmt.Errorf("look for a copy on %s: %w", subject, err)
		}
	}
	return false, nil
}

// judge hands what is lost to the tick, and gives up what was claimed again
// and again without an outcome.
func (s *Sweeper) judge(ctx context.Context, listed []db.ExpiredLease, gone map[db.Delivery]bool) error {
	var lost, hopeless []db.ExpiredLease
	for _, l := range listed {
		switch {
		case !gone[db.Delivery{ID: l.ID, ClaimNumber: l.ClaimNumber}]:
		case l.ClaimsWithoutOutcome >= maxFruitless:
			hopeless = append(hopeless, l)
		default:
			lost = append(lost, l)
		}
	}
	s.lost.add(lost)
	failpoint.At(failpoint.SweepFound)
	s.leases.WithLabelValues("lost").Add(float64(len(lost)))
	if len(hopeless) == 0 {
		return nil
	}
	began := time.Now()
	moved, outboxID, err := s.Store.GiveUp(ctx, hopeless, func(moved []message.Message) []byte {
		return events.Encode(s.Composer.Moved(message.EventFailed, moved))
	})
	if err != nil {
		return err
	}
	if len(moved) > 0 {
		s.Log.Warn("gave up messages whose claims brought no outcome", zap.Int("messages", len(moved)), zap.Int("claims", maxFruitless))
		s.leases.WithLabelValues("given_up").Add(float64(len(moved)))
	}
	s.outbox.Publish(ctx, began, outboxID, s.Composer.Moved(message.EventFailed, moved))
	return nil
}
