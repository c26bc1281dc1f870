package projector

import (
	"context"
	"fmt"
	"maps"
	"slices"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/dispatcher/batchconsumer"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// copyBatch copies the states of the messages that change notifications name,
// and acknowledges the notifications. If that fails, it gives them back. It is
// not interrupted by ctx.
func (p *Projector) copyBatch(ctx context.Context, batch []natsjs.Msg) error {
	defer batchconsumer.Hold(batch)()
	last, err := p.copyStates(context.WithoutCancel(ctx), batch)
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
	p.position.Sequence = max(p.position.Sequence, last)
	p.countsStale = true
	return nil
}

// copyStates copies the states and returns the sequence of the last
// notification. Only the last write moves the position in Redis.
func (p *Projector) copyStates(ctx context.Context, batch []natsjs.Msg) (last uint64, err error) {
	last, ids, err := p.parse(batch)
	if err != nil {
		return 0, err
	}
	for ; len(ids) > maxStates; ids = ids[maxStates:] {
		if err := p.write(ctx, ids[:maxStates], p.position); err != nil {
			return 0, err
		}
	}
	return last, p.write(ctx, ids, cache.Progress{Epoch: p.position.Epoch, Sequence: last})
}

// parse returns the ids in change notifications, each once, and the sequence of
// the last notification.
func (p *Projector) parse(batch []natsjs.Msg) (last uint64, ids []message.ID, err error) {
	seen := map[message.ID]bool{}
	for _, msg := range batch {
		meta, err := msg.Metadata()
		if err != nil {
			return 0, nil, fmt.Errorf("read metadata of a change notification: %w", err)
		}
		last = max(last, meta.Sequence.Stream)
		changed, err := events.ParseChanges(msg.Data())
		if err != nil {
			p.Log.Warn("skip a change notification that cannot be parsed", zap.Uint64("sequence", meta.Sequence.Stream), zap.Error(err))
		}
		for _, id := range changed {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return last, ids, nil
}

// write copies the states of messages, after which Redis holds everything up to
// a position. It removes messages from Redis that are no longer in Postgres.
func (p *Projector) write(ctx context.Context, ids []message.ID, upTo cache.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	states, err := p.Store.States(ctx, ids)
	if err != nil {
		return err
	}
	gone := make(map[message.ID]bool, len(ids)) // erased, or past their retention
	for _, id := range ids {
		gone[id] = true
	}
	for _, state := range states {
		delete(gone, state.ID)
	}
	if _, err := p.cache.Delete(ctx, slices.Collect(maps.Keys(gone))); err != nil {
		return err
	}
	failpoint.At(failpoint.ProjectorRead)
	if err := p.cache.Put(ctx, states, upTo); err != nil {
		return err
	}
	p.metrics.copied.Add(float64(len(states)))
	return nil
}
