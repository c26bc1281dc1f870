package projector

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// check makes sure that Redis holds everything that was copied before. If it
// does not, everything is copied again. A Redis that was killed may have lost
// its last second, too.
func (p *Projector) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, component.RecorderTimeout)
	defer cancel()
	acked, found, err := p.ackFloor(ctx) // before the position in Redis, which only rises
	if err != nil {
		return err
	}
	held, err := p.cache.Progress(ctx)
	if err != nil {
		return err
	}
	epoch, err := p.Store.Epoch(ctx)
	if err != nil {
		return err
	}
	behind := !found || held.History != epoch || held.Sequence < acked ||
		(held.Epoch == p.position.Epoch && held.Sequence < p.position.Sequence)
	if held.Epoch != "" && !behind {
		p.position = held
		return nil
	}
	return p.restart(ctx, held, epoch)
}

// ackFloor returns the sequence up to which every change notification is
// copied, and updates the metric of the lag. found is false if the consumer is
// missing: the dispatcher that was restarting it may have died.
func (p *Projector) ackFloor(ctx context.Context) (sequence uint64, found bool, err error) {
	consumer, err := p.JS.Consumer(ctx, p.JS.ChangesStream(), events.CacheConsumer)
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look up consumer %s: %w", events.CacheConsumer, err)
	}
	info := consumer.CachedInfo()
	p.metrics.lag.Set(float64(info.NumPending) + float64(info.NumAckPending))
	if info.AckFloor.Consumer == 0 {
		return 0, true, nil // nothing is acknowledged, so the stream's floor is where the stream begins
	}
	return info.AckFloor.Stream, true, nil
}

// restart has everything copied again that CHANGES still holds: the consumer is
// created again at the start of CHANGES, and Redis gets a new position. If the
// database is another one, Redis is emptied first.
func (p *Projector) restart(ctx context.Context, held cache.Progress, epoch int64) error {
	p.Log.Info("Redis holds no complete copy; copying everything again")
	if held.History != epoch {
		if err := p.cache.Clear(ctx); err != nil {
			return err
		}
	}
	err := p.JS.DeleteConsumer(ctx, p.JS.ChangesStream(), events.CacheConsumer)
	if err != nil && !errors.Is(err, natsjs.ErrConsumerNotFound) {
		return fmt.Errorf("delete consumer %s: %w", events.CacheConsumer, err)
	}
	failpoint.At(failpoint.ProjectorReset)
	for _, consumer := range p.JS.Consumers(nil) {
		if consumer.Config.Durable != events.CacheConsumer {
			continue
		}
		if _, err := p.JS.CreateOrUpdateConsumer(ctx, consumer.Stream, consumer.Config); err != nil {
			return fmt.Errorf("create consumer %s again: %w", events.CacheConsumer, err)
		}
	}
	failpoint.At(failpoint.ProjectorRestarted)
	p.changes.Reset()
	p.position = cache.Progress{Epoch: message.NewID(time.Now()).String(), History: epoch}
	return p.cache.Begin(ctx, p.position.Epoch, epoch)
}
