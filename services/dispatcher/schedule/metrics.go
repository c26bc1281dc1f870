package schedule

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// tickMetrics is what is worth watching of the ticks.
type tickMetrics struct {
	ticks   *prometheus.CounterVec
	claimed *prometheus.CounterVec
	queued  prometheus.Gauge
}

func newTickMetrics(base component.Base) *tickMetrics {
	return &tickMetrics{
		ticks:   base.CounterVec("ticks_total", "Ticks that this dispatcher ran, by result: claimed or empty.", "result", "claimed", "empty"),
		claimed: base.CounterVec("claimed_messages_total", "Messages that this dispatcher's ticks claimed, by kind: fresh or reclaimed.", "kind", "fresh", "reclaimed"),
		queued:  base.Gauge("queued_ids", "Ids that wait for the senders or are with them, as the last tick saw it."),
	}
}

func (m *tickMetrics) ticked(tick db.TickResult) {
	if tick.Size() == 0 {
		m.ticks.WithLabelValues("empty").Inc()
		return
	}
	m.ticks.WithLabelValues("claimed").Inc()
	m.claimed.WithLabelValues("fresh").Add(float64(len(tick.Fresh)))
	m.claimed.WithLabelValues("reclaimed").Add(float64(len(tick.Reclaimed)))
}
