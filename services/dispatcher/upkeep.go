package dispatcher

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	// expireEvery and expireBatch are the pace of the expiry sweep, foldEvery
	// that of summing up the counts.
	expireEvery = time.Second
	expireBatch = 1000
	foldEvery   = 5 * time.Second
)

// upkeep expires what was not sent in time, sums up the counts, and measures
// what is worth watching. It works without NATS.
type upkeep struct {
	store     *db.Store
	composer  events.Composer
	announcer announcer
	metrics   *metrics
	trouble   *trouble
}

// Run keeps up until ctx ends.
func (u *upkeep) Run(ctx context.Context) error {
	var folded time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(jitter(expireEvery)):
		}
		err := u.expire(ctx)
		if err == nil && time.Since(folded) >= foldEvery {
			folded = time.Now()
			err = u.fold(ctx)
		}
		if ctx.Err() == nil {
			u.trouble.is(err)
		}
	}
}

// expire moves PENDING messages on whose expiresAt is over. For those that
// are emitted already, the senders look.
func (u *upkeep) expire(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := u.expireBatch(ctx)
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

func (u *upkeep) expireBatch(ctx context.Context) (int, error) {
	began := time.Now()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishWithin)
	defer cancel()
	moved, outboxID, err := u.store.ExpireDue(bounded, expireBatch, func(moved []message.Message) []byte {
		return events.Encode(u.composer.Moved(message.EventExpired, moved))
	})
	if err != nil {
		return 0, err
	}
	u.announcer.publish(ctx, began, outboxID, u.composer.Moved(message.EventExpired, moved))
	u.metrics.expired.Add(float64(len(moved)))
	return len(moved), nil
}

func (u *upkeep) fold(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	if err := u.store.FoldCounts(ctx); err != nil {
		return err
	}
	if err := u.store.FoldRecorderProgress(ctx); err != nil {
		return err
	}
	failpoint.At(failpoint.CountsFolded)
	rows, oldest, err := u.store.OutboxBacklog(ctx)
	if err != nil {
		return err
	}
	u.metrics.backlog(rows, oldest)
	return nil
}
