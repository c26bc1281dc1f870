package maintenance

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// foldEvery is how often the counts are summed up.
const foldEvery = 5 * time.Second

// CountFolder sums up the counts of messages and the recorder's notes, and
// measures the outbox. It works without NATS.
type CountFolder struct {
	component.Base
	outboxRows   prometheus.Gauge
	outboxOldest prometheus.Gauge
	trouble      *service.FailureTracker
}

// NewCountFolder returns one that is ready to run.
func NewCountFolder(base component.Base) *CountFolder {
	return &CountFolder{
		Base:         base,
		outboxRows:   base.Gauge("outbox_rows", "Outbox rows that are not yet published."),
		outboxOldest: base.Gauge("outbox_oldest_seconds", "Age of the oldest outbox row; 0 for none."),
		trouble:      base.Watch("count folder", service.StateDegraded, "summing up the counts"),
	}
}

// Run folds until ctx ends.
func (f *CountFolder) Run(ctx context.Context) error {
	for wait := component.Jitter(time.Second); ; wait = component.Jitter(foldEvery) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		err := f.fold(ctx)
		if ctx.Err() == nil {
			f.trouble.Report(err)
		}
	}
}

func (f *CountFolder) fold(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	if err := f.Store.FoldCounts(ctx); err != nil {
		return err
	}
	if err := f.Store.FoldRecorderProgress(ctx); err != nil {
		return err
	}
	failpoint.At(failpoint.CountsFolded)
	rows, oldest, err := f.Store.OutboxBacklog(ctx)
	if err != nil {
		return err
	}
	f.outboxRows.Set(float64(rows))
	f.outboxOldest.Set(oldest.Seconds())
	return nil
}
