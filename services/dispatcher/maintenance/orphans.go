package maintenance

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// orphansEvery is the time between two complete walks along all attempts.
const orphansEvery = 24 * time.Hour

// OrphanSweep deletes attempts whose message is gone. Nothing else would find
// them. It walks like Retention, at the start and then daily, and also where
// RETENTION is 0.
type OrphanSweep struct {
	component.Base
	deleted  *prometheus.CounterVec
	failures *service.FailureTracker
}

// NewOrphanSweep returns an OrphanSweep. deleted is the counter made by
// DeletedRows.
func NewOrphanSweep(base component.Base, deleted *prometheus.CounterVec) *OrphanSweep {
	return &OrphanSweep{Base: base, deleted: deleted, failures: base.Track("orphans", service.StateDegraded, "deleting attempts whose message is gone")}
}

// Run deletes until ctx ends.
func (o *OrphanSweep) Run(ctx context.Context) error {
	loop := service.Loop{Immediately: true, Failures: o.failures}
	return loop.RunPaced(ctx, func(ctx context.Context) (time.Duration, error) {
		attempts, complete, err := o.walk(ctx)
		if attempts > 0 {
			o.Log.Info("deleted attempts whose message is gone", zap.Int("attempts", attempts))
		}
		if !complete {
			return retentionEvery, err
		}
		return orphansEvery, err
	})
}

// walk looks at all attempts. It is not complete if it fails, or if another
// dispatcher is deleting.
func (o *OrphanSweep) walk(ctx context.Context) (attempts int, complete bool, err error) {
	for page := (db.DeletedBatch{Seen: walkStep}); page.Seen == walkStep; {
		began := time.Now()
		if page, err = o.step(ctx, page.Last); err != nil || page.Busy {
			return attempts, false, err
		}
		attempts += page.Attempts
		o.deleted.WithLabelValues("attempts").Add(float64(page.Attempts))
		pause(ctx, time.Since(began))
	}
	return attempts, true, nil
}

func (o *OrphanSweep) step(ctx context.Context, after message.ID) (db.DeletedBatch, error) {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	return o.Store.DeleteOrphanedAttempts(ctx, after, walkStep)
}
