package schedule

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
	"github.com/message-dispatcher/dispatch/services/dispatcher/reclaim"
)

const (
	// lookEvery is how often the schedule is looked at while nothing is due:
	// it can be changed on another instance.
	lookEvery = time.Second
	// leaseOfRoom and leaseOfLook are how many ids may be emitted, and for how
	// long, without asking again how many wait, when less than half do.
	leaseOfRoom = component.MaxQueued / 4
	leaseOfLook = time.Second
	// maxRest bounds the rest between two ticks of the continuous mode.
	maxRest = 50 * time.Millisecond
)

// Ticker emits ids at the pace of the schedule.
type Ticker struct {
	component.Base
	lost    *reclaim.Buffer // what the sweep found, to be claimed anew
	floor   db.Watermark
	metrics *tickMetrics

	poked   chan struct{} // somebody changed the schedule
	woken   chan struct{} // something may have become due
	unwatch func() error  // ends the watch for that; nil: there is none
	trouble *service.FailureTracker

	// In the continuous mode, while nothing stood in the way a moment ago:
	// how many ids may be emitted without another look, and until when.
	room      int
	roomUntil time.Time

	lostSince time.Time // when the open claim was first seen to be gone; zero: it is not
}

// NewTicker returns one that claims also what lost holds.
func NewTicker(base component.Base, lost *reclaim.Buffer) *Ticker {
	return &Ticker{
		Base: base, lost: lost, metrics: newTickMetrics(base),
		poked: make(chan struct{}, 1), woken: make(chan struct{}, 1),
		trouble: base.Watch("tick", service.StateDown, "tick"),
	}
}

// Poke has the schedule looked at now.
func (t *Ticker) Poke() { signal(t.poked) }

func signal(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default: // it is signalled already
	}
}

// pause is what the loop does between two turns.
type pause struct {
	length time.Duration
	listen bool // end it when something may have become due
}

// soon is the pause when another dispatcher is at it.
func soon() pause {
	return pause{length: 25*time.Millisecond + rand.N(150*time.Millisecond)}
}

// Run ticks until ctx ends, and finishes the tick that it is in.
func (t *Ticker) Run(ctx context.Context) error {
	defer t.watch(false)
	for {
		next := t.turn(ctx)
		woken := t.woken
		if !next.listen {
			woken = nil // who looks each time while nothing can be done about it burns a core
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.poked:
		case <-woken:
			failpoint.At(failpoint.TickWoken)
		case <-time.After(next.length):
		}
	}
}

// turn looks at the schedule and runs a tick if it is due. Without NATS it
// claims nothing: the claim would only have to be relayed, late.
func (t *Ticker) turn(ctx context.Context) pause {
	if !t.JS.Conn().IsConnected() {
		return pause{length: component.Jitter(lookEvery / 2)}
	}
	if t.room > 0 && time.Now().Before(t.roomUntil) {
		return t.tick(ctx, t.room)
	}
	t.room = 0
	pace, err := t.pace(ctx)
	if err != nil {
		t.trouble.Report(err)
		return pause{length: component.Jitter(lookEvery)}
	}
	t.watch(pace.Running && pace.Interval == 0)
	if err := t.closeLost(ctx, pace.ClaimLost); err != nil {
		t.trouble.Report(err)
		return pause{length: component.Jitter(lookEvery)}
	}
	if next, due := until(pace); !due {
		if !pace.ClaimOpen {
			t.trouble.Report(nil)
		}
		return next
	}
	limit, err := t.measure(ctx, pace)
	if err != nil {
		t.trouble.Report(err)
		return pause{length: component.Jitter(lookEvery / 2)}
	}
	if limit <= 0 {
		return pause{length: component.Jitter(50 * time.Millisecond)}
	}
	return t.tick(ctx, limit)
}

// closeLost ends a claim whose outbox row is gone, once nobody publishes it any
// more: else no tick would ever run again.
func (t *Ticker) closeLost(ctx context.Context, lost bool) error {
	switch {
	case !lost:
		t.lostSince = time.Time{}
		return nil
	case t.lostSince.IsZero():
		t.lostSince = time.Now()
		return nil
	case time.Since(t.lostSince) < component.PublishTimeout:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	closed, err := t.Store.CloseLostClaim(ctx)
	if closed {
		t.Log.Error("the outbox row of an open claim is gone; its messages come back with their lease")
	}
	return err
}

// until returns the pause before the next tick, or that it is due. One that is
// further away than an interval, since Postgres' clock was set back, is due
// too: the tick pulls it back.
func until(pace db.Pace) (next pause, due bool) {
	switch {
	case !pace.Running, !pace.Trusted:
		return pause{length: lookEvery}, false
	case pace.ClaimOpen:
		return soon(), false
	case pace.Wait > 0 && pace.Wait <= pace.Interval:
		return pause{length: min(pace.Wait, lookEvery)}, false
	}
	return pause{}, true
}

func (t *Ticker) pace(ctx context.Context) (db.Pace, error) {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	return t.Store.Pace(ctx)
}

// measure returns how many ids may be emitted now: none while DELIVERIES, where
// retries are parked too, is full. With an interval the pace is the limit
// otherwise; the questions then just show whether JetStream answers.
func (t *Ticker) measure(ctx context.Context, pace db.Pace) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, component.AskTimeout)
	defer cancel()
	queued, err := deliveries.Queued(ctx, t.JS, message.DefaultDestination)
	if err != nil {
		return 0, err
	}
	t.metrics.queued.Set(float64(queued))
	filling, err := deliveries.DeliveriesFilling(ctx, t.JS)
	if err != nil || filling.Full() {
		return 0, err
	}
	if pace.Interval > 0 {
		return message.MaxBatchSize, nil
	}
	if queued < component.MaxQueued/2 {
		t.room, t.roomUntil = leaseOfRoom, time.Now().Add(leaseOfLook)
	}
	return component.MaxQueued - queued, nil
}

// tick claims and publishes. It is not ended by ctx: it takes seconds at most,
// and a claim that nobody publishes would hold up everyone for longer.
func (t *Ticker) tick(ctx context.Context, limit int) pause {
	began := time.Now()
	whole, cancel := context.WithDeadline(context.WithoutCancel(ctx), began.Add(component.PublishTimeout))
	defer cancel()
	var entries []events.Entry // composed once, for the outbox and to be published
	lost := t.lost.Take(limit)
	tick, err := t.Store.Tick(whole, db.TickParams{
		Destination: message.DefaultDestination,
		Limit:       limit,
		Lease:       t.Lease,
		Reclaim:     lost,
		Watermark:   &t.floor,
		BatchSize:   db.DefaultBatchSize,
		EncodeOutbox: func(claim db.Claim) []byte {
			entries = t.entries(claim)
			return events.Encode(entries)
		},
	})
	t.trouble.Report(err)
	t.used(tick)
	switch {
	case err != nil:
		return pause{length: component.Jitter(lookEvery / 2)}
	case !tick.Ran:
		return soon()
	}
	t.lost.Remove(lost, tick.Reclaimed)
	t.metrics.ticked(tick)
	if tick.OutboxID != 0 {
		failpoint.At(failpoint.TickClaimed)
		rest, err := t.publish(whole, entries)
		if err != nil {
			t.Log.Warn("a claim is left to the relay", zap.Int("messages", tick.Size()), zap.Error(err))
			t.room = 0
			return soon()
		}
		failpoint.At(failpoint.TickPublished)
		t.finish(ctx, tick, rest)
	}
	if tick.Interval == 0 && tick.Size() > 0 && !tick.Full {
		component.Rest(ctx, time.Since(began), maxRest)
	}
	return t.after(ctx, tick)
}

// used takes what a tick emitted off the room. Whatever stood in its way is
// worth a look, and so is the end of the room: a batch is not to be cut short
// by it.
func (t *Ticker) used(tick db.TickResult) {
	t.room -= tick.Size()
	if !tick.Ran || tick.Interval > 0 || t.room < leaseOfRoom/2 {
		t.room = 0
	}
}

// publish publishes a claim, as long as ctx lasts: a reconnect takes a moment,
// a relay much longer. It returns the events that were not published: nobody
// waits for those.
func (t *Ticker) publish(ctx context.Context, entries []events.Entry) (rest []events.Entry, err error) {
	for {
		entries, err = t.Publisher.PublishIDs(ctx, entries)
		if !slices.ContainsFunc(entries, events.Entry.IsID) {
			return entries, nil
		}
		select {
		case <-ctx.Done():
			return entries, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// entries is what a claim publishes.
func (t *Ticker) entries(claim db.Claim) []events.Entry {
	return append(
		t.Composer.Claimed(events.OriginReclaim, claim.Reclaimed),
		t.Composer.Claimed(events.OriginTick, claim.Fresh)...)
}

// finish begins the next interval. It goes on trying: nobody can tick before,
// and a relay would have to publish everything once more.
func (t *Ticker) finish(ctx context.Context, tick db.TickResult, rest []events.Entry) {
	_ = component.Retry(ctx, component.StoreTimeout, t.trouble, func(ctx context.Context) error { // the row is there: a relay finishes it
		if len(rest) == 0 {
			return t.Store.FinishClaim(ctx, tick.OutboxID, tick.Size())
		}
		return t.Store.FinishRelayedClaims(ctx, []db.FinishedClaim{{OutboxID: tick.OutboxID, Size: tick.Size(), Rest: events.Encode(rest)}})
	})
}

// after is the pause after a tick that ran.
func (t *Ticker) after(ctx context.Context, tick db.TickResult) pause {
	switch {
	case tick.Interval > 0:
		return pause{length: min(tick.Interval, lookEvery)}
	case tick.Full || len(t.woken) > 0:
		return pause{listen: true}
	}
	// deliverAt comes silently.
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	wait, found, err := t.Store.NextDue(ctx, message.DefaultDestination, &t.floor)
	if err != nil || !found {
		return pause{length: lookEvery, listen: true}
	}
	return pause{length: min(max(wait, 20*time.Millisecond), lookEvery), listen: true}
}

// watch has whatever may become due end the pauses of the continuous mode.
func (t *Ticker) watch(wanted bool) {
	switch {
	case wanted && t.unwatch == nil:
		stop, err := jetstream.Watch(t.JS, func() { signal(t.woken) })
		if err != nil {
			t.Log.Warn("watch for new messages, looking every second instead", zap.Error(err))
			return
		}
		t.unwatch = stop
	case !wanted && t.unwatch != nil:
		_ = t.unwatch() // the connection is closed: nothing is left to end
		t.unwatch = nil
	}
}
