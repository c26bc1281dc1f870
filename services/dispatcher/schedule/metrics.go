package schedule

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

type metrics struct {
	ticks   *prometheus.CounterVec
	claimed *prometheus.CounterVec
	queued  prometheus.Gauge
}

func newMetrics(base component.Base) metrics {
	return metrics{
		ticks: base.CounterVec("ticks_total", "Ticks that this dispatcher ran, by result: claimed or empty.", "result", "claimed", "empty"),
		claimed: base.CounterVec("claimed_messages_total",
			"Messages that this dispatcher's ticks claimed, by kind: fresh or reclaimed.", "kind", "fresh", "reclaimed"),
		queued: base.Gauge("queued_ids", "Ids that wait for the senders or are with them, as of the last tick."),
	}
}

// ticked counts a tick and what it claimed.
func (m metrics) ticked(tick db.TickResult) {
	if tick.Size() == 0 {
		m.ticks.WithLabelValues("empty").Inc()
		return
	}
	m.ticks.WithLabelValues("claimed").Inc()
	m.claimed.WithLabelValues("fresh").Add(float64(len(tick.Fresh)))
	m.claimed.WithLabelValues("reclaimed").Add(float64(len(tick.Reclaimed)))
}
