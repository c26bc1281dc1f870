package projector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/batchconsumer"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

const (
	// countsSoon is how old the counts in Redis may be while something
	// happens, and countsLate while nothing seems to: a user's retry has no
	// event.
	countsSoon = time.Second
	countsLate = 10 * time.Second
	// checkEvery is how often Redis is asked whether it still holds the copy.
	checkEvery = time.Second
	// copyRest lies between two batches: a message's changes come close
	// together, and are one copy then.
	copyRest = 100 * time.Millisecond
	// copyBatch is how many notes are taken at once, and copyAtOnce how many
	// states are copied at once.
	copyBatch  = 100
	copyAtOnce = 1000
)

// Projector copies states to Redis. What it copies it reads from Postgres: the
// notes on CHANGES say only which messages have changed, once that is
// committed, so that Redis never knows more than Postgres. Its place is its
// own consumer of them: while Redis is away it waits there, and goes on later;
// when Redis has lost what it held, the place is made anew and everything is
// copied again.
type Projector struct {
	component.Base
	cache   *cache.Cache
	changes *batchconsumer.Consumer
	metrics Metrics
	trouble *service.FailureTracker

	at      cache.Position // the copy that this one adds to, and how far it is known to be
	checked time.Time
	dirty   bool // something happened since the counts were copied
	counted time.Time
}

// NewProjector returns one that copies to redis.
func NewProjector(base component.Base, redis *cache.Cache, metrics Metrics) *Projector {
	return &Projector{
		Base:    base,
		cache:   redis,
		changes: batchconsumer.NewConsumer(base, base.Topology.ChangesStream(), events.CacheConsumer, copyBatch),
		metrics: metrics,
		trouble: base.Watch("redis copier", service.StateDegraded, "copying to Redis"),
	}
}

// Run copies until ctx ends.
func (c *Projector) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := c.round(ctx)
		if ctx.Err() == nil {
			c.trouble.Report(err)
		}
		if err == nil {
			continue
		}
		c.checked = time.Time{} // Redis may have come back without what it held
		c.measure(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(component.Jitter(time.Second)):
		}
	}
	return nil
}

func (c *Projector) round(ctx context.Context) error {
	if time.Since(c.checked) >= checkEvery {
		if err := c.check(ctx); err != nil {
			return err
		}
		c.checked = time.Now()
	}
	batch, err := c.changes.Next(ctx)
	if len(batch) > 0 {
		err = errors.Join(err, c.copy(ctx, batch))
		if len(batch) < copyBatch {
			component.Rest(ctx, copyRest, copyRest)
		}
	}
	if err != nil {
		return err
	}
	return c.copyCounts(ctx)
}

// check makes sure that Redis holds what was copied before; if not, it begins
// anew. A Redis that was killed may have lost its last second, too.
func (c *Projector) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, component.RecorderTimeout)
	defer cancel()
	floor, found, err := c.floor(ctx) // before the position, which only rises
	if err != nil {
		return err
	}
	at, err := c.cache.Position(ctx)
	if err != nil {
		return err
	}
	history, err := c.Store.Epoch(ctx)
	if err != nil {
		return err
	}
	behind := !found || at.History != history || at.Sequence < floor || (at.Epoch == c.at.Epoch && at.Sequence < c.at.Sequence)
	if at.Epoch != "" && !behind {
		c.at = at
		return nil
	}
	return c.begin(ctx, at, history)
}

// floor is the last note up to which all were copied. It is not found while
// the consumer is missing: whoever was to make it anew may have died.
func (c *Projector) floor(ctx context.Context) (floor uint64, found bool, err error) {
	consumer, err := c.JS.Consumer(ctx, c.Topology.ChangesStream(), events.CacheConsumer)
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look up consumer %s: %w", events.CacheConsumer, err)
	}
	info := consumer.CachedInfo()
	c.metrics.lag.Set(float64(info.NumPending) + float64(info.NumAckPending))
	if info.AckFloor.Consumer == 0 {
		return 0, true, nil // nothing is copied: the floor is where the stream begins
	}
	return info.AckFloor.Stream, true, nil
}

// begin has all copied again that the notes are about.
func (c *Projector) begin(ctx context.Context, at cache.Position, history int64) error {
	c.Log.Info("Redis holds no complete copy; copying everything again")
	if at.History != history {
		if err := c.cache.Clear(ctx); err != nil {
			return err
		}
	}
	err := c.JS.DeleteConsumer(ctx, c.Topology.ChangesStream(), events.CacheConsumer)
	if err != nil && !errors.Is(err, natsjs.ErrConsumerNotFound) {
		return fmt.Errorf("delete consumer %s: %w", events.CacheConsumer, err)
	}
	failpoint.At(failpoint.ProjectorReset)
	for _, consumer := range c.Topology.Consumers(nil) {
		if consumer.Config.Durable != events.CacheConsumer {
			continue
		}
		if _, err := c.JS.CreateOrUpdateConsumer(ctx, consumer.Stream, consumer.Config); err != nil {
			return fmt.Errorf("make consumer %s anew: %w", events.CacheConsumer, err)
		}
	}
	failpoint.At(failpoint.ProjectorRestarted)
	c.changes.Renew()
	c.at = cache.Position{Epoch: message.NewID(time.Now()).String(), History: history}
	return c.cache.Begin(ctx, c.at.Epoch, history)
}

// copy copies the states of the messages that notes are about. Notes whose
// messages could not be copied are given back.
func (c *Projector) copy(ctx context.Context, batch []natsjs.Msg) error {
	defer batchconsumer.Hold(batch)()
	last, err := c.tryCopy(context.WithoutCancel(ctx), batch)
	if err != nil {
		for _, msg := range batch {
			_ = msg.Nak()
		}
		return err
	}
	failpoint.At(failpoint.ProjectorCopied)
	for _, msg := range batch {
		batchconsumer.Ack(msg)
		failpoint.At(failpoint.ProjectorPartAcked)
	}
	c.at.Sequence = max(c.at.Sequence, last)
	c.dirty = true
	return nil
}

func (c *Projector) tryCopy(ctx context.Context, batch []natsjs.Msg) (last uint64, err error) {
	last, ids, err := c.read(batch)
	if err != nil {
		return 0, err
	}
	for ; len(ids) > copyAtOnce; ids = ids[copyAtOnce:] {
		if err := c.copyStates(ctx, ids[:copyAtOnce], c.at); err != nil {
			return 0, err
		}
	}
	return last, c.copyStates(ctx, ids, cache.Position{Epoch: c.at.Epoch, Sequence: last})
}

// read returns the messages that notes name, each once, and the last note's
// sequence.
func (c *Projector) read(batch []natsjs.Msg) (last uint64, ids []message.ID, err error) {
	seen := map[message.ID]bool{}
	for _, msg := range batch {
		meta, err := msg.Metadata()
		if err != nil {
			return 0, nil, fmt.Errorf("read metadata of a note: %w", err)
		}
		last = max(last, meta.Sequence.Stream)
		noted, err := events.ReadNote(msg.Data())
		if err != nil { // somebody else's
			c.Log.Warn("a note of changed messages can't be read", zap.Uint64("sequence", meta.Sequence.Stream), zap.Error(err))
		}
		for _, id := range noted {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return last, ids, nil
}

// copyStates copies the states of ids, with which everything up to a position
// is copied.
func (c *Projector) copyStates(ctx context.Context, ids []message.ID, upTo cache.Position) error {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	rows, err := c.Store.States(ctx, ids)
	if err != nil {
		return err
	}
	gone := make(map[message.ID]bool, len(ids)) // erased, or past their retention
	for _, id := range ids {
		gone[id] = true
	}
	states := make([]cache.State, len(rows))
	for i, row := range rows {
		states[i] = cache.State(row)
		delete(gone, row.ID)
	}
	if _, err := c.cache.Forget(ctx, slices.Collect(maps.Keys(gone))); err != nil {
		return err
	}
	failpoint.At(failpoint.ProjectorRead)
	if err := c.cache.Put(ctx, states, upTo); err != nil {
		return err
	}
	c.metrics.copied.Add(float64(len(states)))
	return nil
}

func (c *Projector) copyCounts(ctx context.Context) error {
	age := time.Since(c.counted)
	if age < countsSoon || (!c.dirty && age < countsLate) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	overview, err := c.Store.Overview(ctx)
	if err != nil {
		return err
	}
	if err := c.cache.PutCounts(ctx, overview.Counts); err != nil {
		return err
	}
	c.counted, c.dirty = time.Now(), false
	return nil
}

// measure keeps the lag true while nothing is copied.
func (c *Projector) measure(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, component.AskTimeout)
	defer cancel()
	_, _, _ = c.floor(ctx) // an error is told by the round that fails
}
