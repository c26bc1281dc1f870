package recorder

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// recorderMetrics is what is worth watching of the recorder.
type recorderMetrics struct {
	batch   prometheus.Histogram
	results *prometheus.CounterVec
	refused prometheus.Counter
}

func newRecorderMetrics(base component.Base) *recorderMetrics {
	return &recorderMetrics{
		batch: promauto.With(base.Registry).NewHistogram(prometheus.HistogramOpts{
			Namespace: "dispatch", Subsystem: "dispatcher", Name: "recorder_batch_events",
			Help:    "Events that the recorder took at once; a batch that is always full means that it lags behind.",
			Buckets: []float64{1, 3, 10, 30, 100, 300, recordBatch - 1},
		}),
		results: base.CounterVec("recorded_outcomes_total", "Outcomes written to Postgres, by effect: moved the message, or none, because it was known or overtaken.", "effect", "moved", "none"),
		refused: base.Counter("refused_outcomes_total", "Outcomes that could not be recorded and were left out."),
	}
}

func (m *recorderMetrics) recorded(outcomes, moved int) {
	m.results.WithLabelValues("moved").Add(float64(moved))
	m.results.WithLabelValues("none").Add(float64(outcomes - moved))
}
