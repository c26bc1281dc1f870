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

// orphansEvery is the time between two walks along all attempts.
const orphansEvery = 24 * time.Hour

// OrphanSweep deletes attempts whose message is gone: nothing else would find
// them. It walks as the retention does, once at the start and then daily, and
// also where RETENTION is 0.
type OrphanSweep struct {
	component.Base
	deleted *prometheus.CounterVec
	trouble *service.FailureTracker
}

// NewOrphanSweep returns one that has looked at nothing yet.
func NewOrphanSweep(base component.Base, deleted *prometheus.CounterVec) *OrphanSweep {
	return &OrphanSweep{Base: base, deleted: deleted, trouble: base.Watch("orphans", service.StateDegraded, "deleting attempts whose message is gone")}
}

// Run sweeps until ctx ends.
func (o *OrphanSweep) Run(ctx context.Context) error {
	for {
		attempts, whole, err := o.walk(ctx)
		if attempts > 0 {
			o.Log.Info("deleted attempts whose message is gone", zap.Int("attempts", attempts))
		}
		wait := orphansEvery
		if !whole {
			wait = retainEvery
		}
		if ctx.Err() == nil {
			o.trouble.Report(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(component.Jitter(wait)):
		}
	}
}

// walk looks at all attempts. It is not whole when it failed, or when another
// dispatcher was deleting something.
func (o *OrphanSweep) walk(ctx context.Context) (attempts int, whole bool, err error) {
	for at := (db.DeletedBatch{Seen: retainStep}); at.Seen == retainStep; {
		began := time.Now()
		if at, err = o.step(ctx, at.Last); err != nil || at.Busy {
			return attempts, false, err
		}
		attempts += at.Attempts
		o.deleted.WithLabelValues("attempts").Add(float64(at.Attempts))
		component.Rest(ctx, retainRest*time.Since(began), component.StoreTimeout)
	}
	return attempts, true, nil
}

func (o *OrphanSweep) step(ctx context.Context, after message.ID) (db.DeletedBatch, error) {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	return o.Store.DeleteOrphanedAttempts(ctx, after, retainStep)
}
