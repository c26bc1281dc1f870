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
	// retentionEvery is the time between two walks along all messages.
	retentionEvery = time.Minute
	// walkStep is how many rows one step of a walk looks at.
	walkStep = 500
	// walkPause is the pause after each step, as a multiple of the time that
	// the step took. It leaves Postgres to the claims.
	walkPause = 4
)

// Retention deletes messages that have been in a final state for longer than
// the retention, with their attempts. It walks from the oldest message on, in
// steps of milliseconds, so a large backlog blocks nobody. It works without
// NATS.
type Retention struct {
	component.Base
	keep     time.Duration
	deleted  *prometheus.CounterVec
	failures *service.FailureTracker
}

// NewRetention returns a Retention that keeps messages for a time. deleted is
// the counter made by DeletedRows.
func NewRetention(base component.Base, keep time.Duration, deleted *prometheus.CounterVec) *Retention {
	return &Retention{Base: base, keep: keep, deleted: deleted, failures: base.Track("retention", service.StateDegraded, "retention")}
}

// DeletedRows creates the counter that Retention and OrphanSweep share.
func DeletedRows(base component.Base) *prometheus.CounterVec {
	return base.CounterVec("deleted_rows_total",
		"Rows that this dispatcher deleted because they were past RETENTION, by table: messages or attempts.",
		"table", "messages", "attempts")
}

// Run deletes until ctx ends.
func (r *Retention) Run(ctx context.Context) error {
	return service.Loop{Every: retentionEvery, Immediately: true, Failures: r.failures}.Run(ctx, r.walk)
}

// walk looks at all messages that are old enough. It ends early if another
// dispatcher is walking.
func (r *Retention) walk(ctx context.Context) error {
	began, messages, attempts := time.Now(), 0, 0
	var err error
	for page := (db.DeletedBatch{Seen: walkStep}); page.Seen == walkStep && ctx.Err() == nil; {
		step := time.Now()
		if page, err = r.step(ctx, page.Last); err != nil {
			break
		}
		if page.Messages > 0 {
			failpoint.At(failpoint.RetentionStep)
		}
		messages, attempts = messages+page.Messages, attempts+page.Attempts
		r.deleted.WithLabelValues("messages").Add(float64(page.Messages))
		r.deleted.WithLabelValues("attempts").Add(float64(page.Attempts))
		pause(ctx, time.Since(step))
	}
	if messages > 0 {
		r.Log.Info("deleted messages that are past RETENTION", zap.Int("messages", messages),
			zap.Int("attempts", attempts), zap.Duration("took", time.Since(began)))
	}
	return err
}

func (r *Retention) step(ctx context.Context, after message.ID) (db.DeletedBatch, error) {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	return r.Store.DeletePastRetention(ctx, r.keep, after, walkStep)
}

// pause waits after a step of a walk.
func pause(ctx context.Context, took time.Duration) {
	service.Sleep(ctx, min(walkPause*took, component.StoreTimeout))
}
