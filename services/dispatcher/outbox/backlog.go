package outbox

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// measureEvery is how often the backlog is measured.
const measureEvery = 5 * time.Second

// Backlog measures how much waits in the outbox. It works without NATS, because
// the outbox grows while NATS is away.
type Backlog struct {
	component.Base
	rows     prometheus.Gauge
	oldest   prometheus.Gauge
	failures *service.FailureTracker
}

// NewBacklog returns a Backlog.
func NewBacklog(base component.Base) *Backlog {
	return &Backlog{
		Base:     base,
		rows:     base.Gauge("outbox_rows", "Outbox rows that are not yet published."),
		oldest:   base.Gauge("outbox_oldest_seconds", "Age of the oldest outbox row; 0: there is none."),
		failures: base.Track("outbox backlog", service.StateDegraded, "measuring the outbox"),
	}
}

// Run measures until ctx ends.
func (b *Backlog) Run(ctx context.Context) error {
	return service.Loop{Every: measureEvery, Failures: b.failures}.Run(ctx, b.measure)
}

func (b *Backlog) measure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	rows, oldest, err := b.Store.OutboxBacklog(ctx)
	if err != nil {
		return err
	}
	b.rows.Set(float64(rows))
	b.oldest.Set(oldest.Seconds())
	return nil
}
