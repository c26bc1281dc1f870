package schedule

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

const (
	// maxBatchWait bounds the wait after a batch in continuous mode. The wait is
	// as long as the batch took, so that under load batches grow and each message
	// costs less. A single message after a quiet time waits for nothing.
	maxBatchWait = 50 * time.Millisecond
	// republishAfter is the wait before ids are published again that NATS did
	// not take.
	republishAfter = 100 * time.Millisecond
)

// tick claims up to limit messages, publishes their ids and begins the next
// interval. The end of ctx does not interrupt it: it takes seconds at most, and
// a claim that is not published would block every dispatcher for longer.
func (t *Ticker) tick(ctx context.Context, limit int) wait {
	began := time.Now()
	whole, cancel := context.WithDeadline(context.WithoutCancel(ctx), began.Add(component.PublishTimeout))
	defer cancel()
	var entries []events.OutboxMessage // composed once, for the outbox and for NATS
	lost := t.lost.Peek(limit)
	tick, err := t.Store.Tick(whole, db.TickParams{
		Destination: message.DefaultDestination,
		Limit:       limit,
		Lease:       t.Lease,
		Reclaim:     lost,
		Watermark:   &t.watermark,
		BatchSize:   db.DefaultBatchSize,
		EncodeOutbox: func(claim db.Claim) []byte {
			entries = t.compose(claim)
			return events.EncodeOutbox(entries)
		},
	})
	t.failures.Report(err)
	t.allowance.use(tick)
	switch {
	case err != nil:
		return wait{length: service.Jitter(checkEvery / 2)}
	case !tick.Ran:
		return retrySoon()
	}
	t.lost.Remove(lost, tick.Reclaimed)
	t.metrics.ticked(tick)
	if tick.OutboxID != 0 {
		failpoint.At(failpoint.TickClaimed)
		unpublished, err := t.publish(whole, entries)
		if err != nil {
			t.Log.Warn("leave a claim to the relay", zap.Int("messages", tick.Size()), zap.Error(err))
			t.allowance.revoke()
			return retrySoon()
		}
		failpoint.At(failpoint.TickPublished)
		t.finish(ctx, tick, unpublished)
	}
	if tick.Interval == 0 && tick.Size() > 0 && !tick.Full {
		service.Sleep(ctx, min(time.Since(began), maxBatchWait))
	}
	return t.afterTick(ctx, tick)
}

// compose returns what a claim publishes.
func (t *Ticker) compose(claim db.Claim) []events.OutboxMessage {
	return append(
		t.Builder.Claims(events.OriginReclaim, claim.Reclaimed),
		t.Builder.Claims(events.OriginTick, claim.Fresh)...)
}

// publish publishes a claim. It tries again until ctx ends, because a reconnect
// is much faster than a relay. It returns the events that were not published;
// the claim does not wait for them. It fails if an id was not published.
func (t *Ticker) publish(ctx context.Context, entries []events.OutboxMessage) (unpublished []events.OutboxMessage, err error) {
	for {
		entries, err = t.Publisher.PublishIDs(ctx, entries)
		if !slices.ContainsFunc(entries, events.OutboxMessage.IsDelivery) {
			return entries, nil
		}
		if !service.Sleep(ctx, republishAfter) {
			return entries, err
		}
	}
}

// finish begins the next interval. It tries again until it succeeds or ctx
// ends: nobody can tick before, and a relay would publish everything again. If
// it fails in the end, the outbox row is still there, and a relay finishes the
// claim.
func (t *Ticker) finish(ctx context.Context, tick db.TickResult, unpublished []events.OutboxMessage) {
	_ = component.Retry(ctx, component.StoreTimeout, t.failures, func(ctx context.Context) error {
		if len(unpublished) == 0 {
			return t.Store.FinishClaim(ctx, tick.OutboxID, tick.Size())
		}
		return t.Store.FinishRelayedClaims(ctx, []db.FinishedClaim{{OutboxID: tick.OutboxID, Size: tick.Size(), Rest: events.EncodeOutbox(unpublished)}})
	})
}

// afterTick returns the wait after a tick that ran.
func (t *Ticker) afterTick(ctx context.Context, tick db.TickResult) wait {
	switch {
	case tick.Interval > 0:
		return wait{length: min(tick.Interval, checkEvery)}
	case tick.Full || len(t.woken) > 0:
		return wait{onWake: true}
	}
	// A message whose deliverAt comes causes no wake-up.
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	untilDue, found, err := t.Store.NextDue(ctx, message.DefaultDestination, &t.watermark)
	if err != nil || !found {
		return wait{length: checkEvery, onWake: true}
	}
	return wait{length: min(max(untilDue, 20*time.Millisecond), checkEvery), onWake: true}
}
