package schedule

import (
	"context"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
	"github.com/message-dispatcher/dispatch/services/dispatcher/reclaim"
)

// checkEvery is how often the schedule is read while nothing is due. Another
// dispatcher may change it.
const checkEvery = time.Second

// Ticker emits ids at the pace of the schedule.
type Ticker struct {
	component.Base
	lost      *reclaim.Buffer // what the sweep found, to be claimed again
	watermark db.Watermark    // where claims begin
	allowance allowance
	metrics   metrics
	failures  *service.FailureTracker

	changed   chan struct{} // signals that the schedule has changed
	woken     chan struct{} // signals that messages may have become due
	stopWakes func() error  // ends the subscription to wake-ups; nil: there is none

	claimLostSince time.Time // when the open claim was first seen without its outbox row; zero: it has one
}

// NewTicker returns a Ticker. Besides what is due it claims what is in lost.
func NewTicker(base component.Base, lost *reclaim.Buffer) *Ticker {
	return &Ticker{
		Base:     base,
		lost:     lost,
		metrics:  newMetrics(base),
		failures: base.Track("tick", service.StateDown, "tick"),
		changed:  make(chan struct{}, 1),
		woken:    make(chan struct{}, 1),
	}
}

// ScheduleChanged has the schedule read again now.
func (t *Ticker) ScheduleChanged() { signal(t.changed) }

func signal(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default: // there is a signal already
	}
}

// wait is what the ticker does between two turns.
type wait struct {
	length time.Duration
	onWake bool // a wake-up ends it
}

// retrySoon is the wait while another dispatcher ticks.
func retrySoon() wait {
	return wait{length: 25*time.Millisecond + rand.N(150*time.Millisecond)}
}

// Run ticks until ctx ends. It finishes the tick that it has begun.
func (t *Ticker) Run(ctx context.Context) error {
	defer t.subscribe(false)
	for {
		next := t.turn(ctx)
		woken := t.woken
		if !next.onWake {
			woken = nil // while a wake-up changes nothing, reacting to it would only use up CPU
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.changed:
		case <-woken:
			failpoint.At(failpoint.TickWoken)
		case <-time.After(next.length):
		}
	}
}

// turn reads the schedule and runs a tick if one is due. Without NATS it claims
// nothing, because a relay would have to publish the claim, late.
func (t *Ticker) turn(ctx context.Context) wait {
	if !t.JS.Conn().IsConnected() {
		return wait{length: service.Jitter(checkEvery / 2)}
	}
	if limit := t.allowance.left(); limit > 0 {
		return t.tick(ctx, limit)
	}
	pace, err := t.pace(ctx)
	if err != nil {
		t.failures.Report(err)
		return wait{length: service.Jitter(checkEvery)}
	}
	t.subscribe(pace.Running && pace.Interval == 0)
	if err := t.closeLostClaim(ctx, pace.ClaimLost); err != nil {
		t.failures.Report(err)
		return wait{length: service.Jitter(checkEvery)}
	}
	if next, due := untilTick(pace); !due {
		if !pace.ClaimOpen {
			t.failures.Report(nil)
		}
		return next
	}
	limit, err := t.limit(ctx, pace)
	if err != nil {
		t.failures.Report(err)
		return wait{length: service.Jitter(checkEvery / 2)}
	}
	if limit <= 0 {
		return wait{length: service.Jitter(50 * time.Millisecond)}
	}
	return t.tick(ctx, limit)
}

// untilTick returns the wait before the next tick, or that the tick is due. A
// tick further away than an interval is due too: Postgres' clock was set back,
// and the tick corrects the schedule.
func untilTick(pace db.Pace) (next wait, due bool) {
	switch {
	case !pace.Running, !pace.Trusted:
		return wait{length: checkEvery}, false
	case pace.ClaimOpen:
		return retrySoon(), false
	case pace.Wait > 0 && pace.Wait <= pace.Interval:
		return wait{length: min(pace.Wait, checkEvery)}, false
	}
	return wait{}, true
}

func (t *Ticker) pace(ctx context.Context) (db.Pace, error) {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	return t.Store.Pace(ctx)
}

// closeLostClaim ends a claim whose outbox row is gone, for example after a
// restore. It waits until no process publishes the claim any more. Without it,
// there would be no further tick.
func (t *Ticker) closeLostClaim(ctx context.Context, lost bool) error {
	switch {
	case !lost:
		t.claimLostSince = time.Time{}
		return nil
	case t.claimLostSince.IsZero():
		t.claimLostSince = time.Now()
		return nil
	case time.Since(t.claimLostSince) < component.PublishTimeout:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	closed, err := t.Store.CloseLostClaim(ctx)
	if closed {
		t.Log.Error("closed a claim whose outbox row is gone; its messages come back after their lease")
	}
	return err
}

// subscribe starts or ends the subscription to wake-ups, which the continuous
// mode uses.
func (t *Ticker) subscribe(wanted bool) {
	switch {
	case wanted && t.stopWakes == nil:
		stop, err := jetstream.Watch(t.JS, func() { signal(t.woken) })
		if err != nil {
			t.Log.Warn("cannot subscribe to new messages; checking every second", zap.Error(err))
			return
		}
		t.stopWakes = stop
	case !wanted && t.stopWakes != nil:
		_ = t.stopWakes() // if it fails, the connection is closed, and the subscription with it
		t.stopWakes = nil
	}
}
