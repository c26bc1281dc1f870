package dispatcher

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	// retainEvery is the time between two walks, retainStep how many messages
	// one step of a walk looks at.
	retainEvery = time.Minute
	retainStep  = 500
	// retainRest is how long a walk rests after each step, as a multiple of
	// the step's time: it leaves Postgres to the claims.
	retainRest = 4
)

// retention deletes messages that have been in a final state for long enough,
// with their attempts. It walks from the oldest on, in steps of milliseconds,
// whatever the backlog; one dispatcher at a time. It works without NATS.
type retention struct {
	store   *db.Store
	keep    time.Duration
	metrics *metrics
	log     *zap.Logger
	trouble *trouble
}

// Run deletes until ctx ends.
func (r *retention) Run(ctx context.Context) error {
	for {
		began := time.Now()
		messages, attempts, err := r.walk(ctx)
		if messages > 0 {
			r.log.Info("deleted messages that are past RETENTION", zap.Int("messages", messages),
				zap.Int("attempts", attempts), zap.Duration("took", time.Since(began)))
		}
		if ctx.Err() == nil {
			r.trouble.is(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(jitter(retainEvery)):
		}
	}
}

// walk looks at everything that is old enough to be past its time. It ends
// early when another dispatcher is at it.
func (r *retention) walk(ctx context.Context) (messages, attempts int, err error) {
	for at := (db.DeletedBatch{Seen: retainStep}); at.Seen == retainStep && ctx.Err() == nil; {
		began := time.Now()
		if at, err = r.step(ctx, at.Last); err != nil {
			return messages, attempts, err
		}
		if at.Messages > 0 {
			failpoint.At(failpoint.RetentionStep)
		}
		messages, attempts = messages+at.Messages, attempts+at.Attempts
		r.metrics.deleted.WithLabelValues("messages").Add(float64(at.Messages))
		r.metrics.deleted.WithLabelValues("attempts").Add(float64(at.Attempts))
		rest(ctx, retainRest*time.Since(began), storeWait)
	}
	return messages, attempts, nil
}

func (r *retention) step(ctx context.Context, after message.ID) (db.DeletedBatch, error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	return r.store.DeletePastRetention(ctx, r.keep, after, retainStep)
}

// orphansEvery is the time between two walks along all attempts.
const orphansEvery = 24 * time.Hour

// orphanSweep deletes attempts whose message is gone: nothing else would find
// them. It walks as the retention does, once at the start and then daily, and
// also where RETENTION is 0.
type orphanSweep struct {
	store   *db.Store
	metrics *metrics
	log     *zap.Logger
	trouble *trouble
}

// Run sweeps until ctx ends.
func (o *orphanSweep) Run(ctx context.Context) error {
	for {
		attempts, whole, err := o.walk(ctx)
		if attempts > 0 {
			o.log.Info("deleted attempts whose message is gone", zap.Int("attempts", attempts))
		}
		wait := orphansEvery
		if !whole {
			wait = retainEvery
		}
		if ctx.Err() == nil {
			o.trouble.is(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(jitter(wait)):
		}
	}
}

// walk looks at all attempts. It is not whole when it failed, or when another
// dispatcher was deleting something.
func (o *orphanSweep) walk(ctx context.Context) (attempts int, whole bool, err error) {
	for at := (db.DeletedBatch{Seen: retainStep}); at.Seen == retainStep; {
		began := time.Now()
		if at, err = o.step(ctx, at.Last); err != nil || at.Busy {
			return attempts, false, err
		}
		attempts += at.Attempts
		o.metrics.deleted.WithLabelValues("attempts").Add(float64(at.Attempts))
		rest(ctx, retainRest*time.Since(began), storeWait)
	}
	return attempts, true, nil
}

func (o *orphanSweep) step(ctx context.Context, after message.ID) (db.DeletedBatch, error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	return o.store.DeleteOrphanedAttempts(ctx, after, retainStep)
}
