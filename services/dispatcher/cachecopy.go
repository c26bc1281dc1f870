package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
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

// copier copies states to Redis. What it copies it reads from Postgres: the
// notes on CHANGES say only which messages have changed, once that is
// committed, so that Redis never knows more than Postgres. Its place is its
// own consumer of them: while Redis is away it waits there, and goes on later;
// when Redis has lost what it held, the place is made anew and everything is
// copied again.
type copier struct {
	store    *db.Store
	cache    *cache.Cache
	js       jetstream.JetStream
	topology events.Topology
	feed     *feed
	metrics  *metrics
	log      *zap.Logger
	trouble  *trouble

	at      cache.Position // the copy that this one adds to, and how far it is known to be
	checked time.Time
	dirty   bool // something happened since the counts were copied
	counted time.Time
}

// Run copies until ctx ends.
func (c *copier) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := c.round(ctx)
		if ctx.Err() == nil {
			c.trouble.is(err)
		}
		if err == nil {
			continue
		}
		c.checked = time.Time{} // Redis may have come back without what it held
		c.measure(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(jitter(time.Second)):
		}
	}
	return nil
}

func (c *copier) round(ctx context.Context) error {
	if time.Since(c.checked) >= checkEvery {
		if err := c.check(ctx); err != nil {
			return err
		}
		c.checked = time.Now()
	}
	batch, err := c.feed.Next(ctx)
	if len(batch) > 0 {
		err = errors.Join(err, c.copy(ctx, batch))
		if len(batch) < copyBatch {
			rest(ctx, copyRest, copyRest)
		}
	}
	if err != nil {
		return err
	}
	return c.copyCounts(ctx)
}

// check makes sure that Redis holds what was copied before; if not, it begins
// anew. A Redis that was killed may have lost its last second, too.
func (c *copier) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recorderWait)
	defer cancel()
	floor, found, err := c.floor(ctx) // before the position, which only rises
	if err != nil {
		return err
	}
	at, err := c.cache.Position(ctx)
	if err != nil {
		return err
	}
	history, err := c.store.Epoch(ctx)
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
func (c *copier) floor(ctx context.Context) (floor uint64, found bool, err error) {
	consumer, err := c.js.Consumer(ctx, c.topology.ChangesStream(), events.CacheConsumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look up consumer %s: %w", events.CacheConsumer, err)
	}
	info := consumer.CachedInfo()
	c.metrics.redisLag.Set(float64(info.NumPending) + float64(info.NumAckPending))
	if info.AckFloor.Consumer == 0 {
		return 0, true, nil // nothing is copied: the floor is where the stream begins
	}
	return info.AckFloor.Stream, true, nil
}

// begin has all copied again that the notes are about.
func (c *copier) begin(ctx context.Context, at cache.Position, history int64) error {
	c.log.Info("Redis holds no complete copy; copying everything again")
	if at.History != history {
		if err := c.cache.Clear(ctx); err != nil {
			return err
		}
	}
	err := c.js.DeleteConsumer(ctx, c.topology.ChangesStream(), events.CacheConsumer)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("delete consumer %s: %w", events.CacheConsumer, err)
	}
	failpoint.At(failpoint.ProjectorReset)
	for _, consumer := range c.topology.Consumers(nil) {
		if consumer.Config.Durable != events.CacheConsumer {
			continue
		}
		if _, err := c.js.CreateOrUpdateConsumer(ctx, consumer.Stream, consumer.Config); err != nil {
			return fmt.Errorf("make consumer %s anew: %w", events.CacheConsumer, err)
		}
	}
	failpoint.At(failpoint.ProjectorRestarted)
	c.feed.consumer = nil
	c.at = cache.Position{Epoch: message.NewID(time.Now()).String(), History: history}
	return c.cache.Begin(ctx, c.at.Epoch, history)
}

// copy copies the states of the messages that notes are about. Notes whose
// messages could not be copied are given back.
func (c *copier) copy(ctx context.Context, batch []jetstream.Msg) error {
	defer hold(batch)()
	last, err := c.tryCopy(context.WithoutCancel(ctx), batch)
	if err != nil {
		for _, msg := range batch {
			_ = msg.Nak()
		}
		return err
	}
	failpoint.At(failpoint.ProjectorCopied)
	for _, msg := range batch {
		settle(msg)
		failpoint.At(failpoint.ProjectorPartAcked)
	}
	c.at.Sequence = max(c.at.Sequence, last)
	c.dirty = true
	return nil
}

func (c *copier) tryCopy(ctx context.Context, batch []jetstream.Msg) (last uint64, err error) {
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
func (c *copier) read(batch []jetstream.Msg) (last uint64, ids []message.ID, err error) {
	seen := map[message.ID]bool{}
	for _, msg := range batch {
		meta, err := msg.Metadata()
		if err != nil {
			return 0, nil, fmt.Errorf("read metadata of a note: %w", err)
		}
		last = max(last, meta.Sequence.Stream)
		noted, err := events.ReadNote(msg.Data())
		if err != nil { // somebody else's
			c.log.Warn("a note of changed messages can't be read", zap.Uint64("sequence", meta.Sequence.Stream), zap.Error(err))
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
func (c *copier) copyStates(ctx context.Context, ids []message.ID, upTo cache.Position) error {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	rows, err := c.store.States(ctx, ids)
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
	c.metrics.redisCopied.Add(float64(len(states)))
	return nil
}

func (c *copier) copyCounts(ctx context.Context) error {
	age := time.Since(c.counted)
	if age < countsSoon || (!c.dirty && age < countsLate) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	overview, err := c.store.Overview(ctx)
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
func (c *copier) measure(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	_, _, _ = c.floor(ctx) // an error is told by the round that fails
}
