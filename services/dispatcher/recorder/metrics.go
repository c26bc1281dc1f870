package recorder

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

type metrics struct {
	batch    prometheus.Histogram
	outcomes *prometheus.CounterVec
	rejected prometheus.Counter
}

func newMetrics(base component.Base) metrics {
	return metrics{
		batch: base.Histogram("recorder_batch_events",
			"Events that the recorder took at once. If the batches are always full, it lags behind.",
			1, 3, 10, 30, 100, 300, maxBatch-1),
		outcomes: base.CounterVec("recorded_outcomes_total",
			"Outcomes written to Postgres, by effect: changed (the message), or none (known already, or superseded).",
			"effect", "changed", "none"),
		rejected: base.Counter("rejected_outcomes_total", "Outcomes that could not be recorded and were skipped."),
	}
}

// recorded counts outcomes, and how many of them changed a message.
func (m metrics) recorded(outcomes, changed int) {
	m.outcomes.WithLabelValues("changed").Add(float64(changed))
	m.outcomes.WithLabelValues("none").Add(float64(outcomes - changed))
}
