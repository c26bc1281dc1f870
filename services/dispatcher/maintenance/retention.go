package maintenance

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
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

// Retention deletes messages that have been in a final state for long enough,
// with their attempts. It walks from the oldest on, in steps of milliseconds,
// whatever the backlog; one dispatcher at a time. It works without NATS.
type Retention struct {
	component.Base
	keep    time.Duration
	deleted *prometheus.CounterVec
	trouble *service.FailureTracker
}

// NewRetention returns one that keeps messages for a time.
func NewRetention(base component.Base, keep time.Duration, deleted *prometheus.CounterVec) *Retention {
	return &Retention{Base: base, keep: keep, deleted: deleted, trouble: base.Watch("retention", service.StateDegraded, "retention")}
}

// DeletedRows makes the counter of the rows that the Retention and the
// OrphanSweep delete.
func DeletedRows(base component.Base) *prometheus.CounterVec {
	return base.CounterVec("deleted_rows_total", "Rows that this dispatcher deleted because they were past RETENTION, by table: messages or attempts.", "table", "messages", "attempts")
}

// Run deletes until ctx ends.
func (r *Retention) Run(ctx context.Context) error {
	for {
		began := time.Now()
		messages, attempts, err := r.walk(ctx)
		if messages > 0 {
			r.Log.Info("deleted messages that are past RETENTION", zap.Int("messages", messages),
				zap.Int("attempts", attempts), zap.Duration("took", time.Since(began)))
		}
		if ctx.Err() == nil {
			r.trouble.Report(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(component.Jitter(retainEvery)):
		}
	}
}

// walk looks at everything that is old enough to be past its time. It ends
// early when another dispatcher is at it.
func (r *Retention) walk(ctx context.Context) (messages, attempts int, err error) {
	for at := (db.DeletedBatch{Seen: retainStep}); at.Seen == retainStep && ctx.Err() == nil; {
		began := time.Now()
		if at, err = r.step(ctx, at.Last); err != nil {
			return messages, attempts, err
		}
		if at.Messages > 0 {
			failpoint.At(failpoint.RetentionStep)
		}
		messages, attempts = messages+at.Messages, attempts+at.Attempts
		r.deleted.WithLabelValues("messages").Add(float64(at.Messages))
		r.deleted.WithLabelValues("attempts").Add(float64(at.Attempts))
		component.Rest(ctx, retainRest*time.Since(began), component.StoreTimeout)
	}
	return messages, attempts, nil
}

func (r *Retention) step(ctx context.Context, after message.ID) (db.DeletedBatch, error) {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	return r.Store.DeletePastRetention(ctx, r.keep, after, retainStep)
}
