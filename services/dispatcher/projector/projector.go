// Package projector copies the state of messages from Postgres to Redis.
package projector

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/batchconsumer"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

const (
	// checkEvery is how often the projector checks whether Redis still holds
	// what was copied.
	checkEvery = time.Second
	// countsEvery is the time between two copies of the counts while messages
	// change. idleCountsEvery is for when none seem to: a redrive publishes no
	// event.
	countsEvery     = time.Second
	idleCountsEvery = 10 * time.Second
	// maxNotifications is how many change notifications are taken at once,
	// maxStates how many states are copied at once.
	maxNotifications = 100
	maxStates        = 1000
	// batchWait is the wait between two batches that are not full. The changes of
	// a message come close together, and are copied once this way.
	batchWait = 100 * time.Millisecond
	// retryAfter is the wait after a failure.
	retryAfter = time.Second
)

// Projector copies the state of changed messages to Redis.
//
// A change notification on CHANGES names the messages that a committed
// transaction has changed. The projector reads their state from Postgres, so
// Redis never knows more than Postgres. Its durable consumer of CHANGES is its
// position: it stays there while Redis is away, and continues afterwards. If
// Redis has lost its data, the consumer starts again at the beginning and
// everything is copied again.
type Projector struct {
	component.Base
	cache    *cache.Cache
	changes  *batchconsumer.Consumer
	metrics  Metrics
	failures *service.FailureTracker

	position     cache.Progress // in CHANGES, as Redis is known to hold it
	checked      time.Time
	countsCopied time.Time
	countsStale  bool // messages have changed since then
}

// New returns a Projector that copies to redis.
func New(base component.Base, redis *cache.Cache, metrics Metrics) *Projector {
	return &Projector{
		Base:     base,
		cache:    redis,
		changes:  batchconsumer.New(base, base.JS.ChangesStream(), events.CacheConsumer, maxNotifications),
		metrics:  metrics,
		failures: base.Track("projector", service.StateDegraded, "copying to Redis"),
	}
}

// Run copies until ctx ends.
func (p *Projector) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := p.round(ctx)
		if ctx.Err() == nil {
			p.failures.Report(err)
		}
		if err != nil {
			p.checked = time.Time{} // Redis may come back without its data
			p.measureLag(ctx)
			service.Sleep(ctx, service.Jitter(retryAfter))
		}
	}
	return nil
}

func (p *Projector) round(ctx context.Context) error {
	if time.Since(p.checked) >= checkEvery {
		if err := p.check(ctx); err != nil {
			return err
		}
		p.checked = time.Now()
	}
	batch, err := p.changes.Next(ctx)
	if len(batch) > 0 {
		err = errors.Join(err, p.copyBatch(ctx, batch))
		if len(batch) < maxNotifications {
			service.Sleep(ctx, batchWait)
		}
	}
	if err != nil {
		return err
	}
	return p.copyCounts(ctx)
}

// copyCounts copies how many messages have each status, if that is due.
func (p *Projector) copyCounts(ctx context.Context) error {
	age := time.Since(p.countsCopied)
	if age < countsEvery || (!p.countsStale && age < idleCountsEvery) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	overview, err := p.Store.Overview(ctx)
	if err != nil {
		return err
	}
	if err := p.cache.PutCounts(ctx, overview.Counts); err != nil {
		return err
	}
	p.countsCopied, p.countsStale = time.Now(), false
	return nil
}

// measureLag keeps the lag up to date while nothing is copied.
func (p *Projector) measureLag(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, component.NATSTimeout)
	defer cancel()
	if _, _, err := p.ackFloor(ctx); err != nil {
		p.Log.Debug("measure the lag of Redis", zap.Error(err)) // the next round reports why
	}
}
