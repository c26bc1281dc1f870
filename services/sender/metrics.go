package sender

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/sender/inflight"
)

// reason is why a delivery was not sent.
type reason string

const (
	reasonEnded          reason = "ended"           // its message has ended, or waits for a tick
	reasonSuperseded     reason = "superseded"      // a newer delivery counts
	reasonLeaseExpired   reason = "lease_expired"   // keep-alives did not arrive in time
	reasonNotDue         reason = "not_due"         // its next attempt is not due
	reasonRecorderBehind reason = "recorder_behind" // what became of it is not recorded yet
	reasonShutdown       reason = "shutdown"
	reasonNoConnection   reason = "no_connection" // this machine could open none
)

func reasons() []reason {
	return []reason{
		reasonEnded, reasonSuperseded, reasonLeaseExpired, reasonNotDue, reasonRecorderBehind, reasonShutdown, reasonNoConnection,
	}
}

// metrics are the sender's metrics.
type metrics struct {
	attempts    *prometheus.CounterVec
	seconds     prometheus.Histogram
	inFlight    prometheus.Gauge
	unsent      *prometheus.CounterVec
	unpublished prometheus.Gauge
}

// newMetrics registers the metrics of a destination.
func newMetrics(registry prometheus.Registerer, destination string, held *inflight.Set) *metrics {
	labels := prometheus.Labels{"destination": destination}
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dispatch_sender_attempts_total", ConstLabels: labels,
			Help: "Delivery attempts, by outcome: success, retry, failure or expired.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dispatch_sender_attempt_seconds", ConstLabels: labels,
			Help:    "How long attempts take.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dispatch_sender_in_flight", ConstLabels: labels,
			Help: "Requests to the webhook that wait for a response.",
		}),
		unsent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dispatch_sender_deliveries_unsent_total", ConstLabels: labels,
			Help: "Deliveries that were discarded or returned without an attempt, by reason.",
		}, []string{"reason"}),
		unpublished: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dispatch_sender_outcomes_unpublished", ConstLabels: labels,
			Help: "Outcomes whose status event or schedule is not acknowledged yet.",
		}),
	}
	size := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dispatch_sender_deliveries_held", ConstLabels: labels,
		Help: "Deliveries that the sender holds, waiting or in flight.",
	}, func() float64 { return float64(held.Len()) })
	registry.MustRegister(m.attempts, m.seconds, m.inFlight, m.unsent, m.unpublished, size)
	for _, r := range reasons() {
		m.unsent.WithLabelValues(string(r))
	}
	for _, outcome := range []string{message.OutcomeSuccess, message.OutcomeRetry, message.OutcomeFailure, message.OutcomeExpired} {
		m.attempts.WithLabelValues(outcome)
	}
	return m
}

func (m *metrics) attempted(a *message.Attempt) {
	m.attempts.WithLabelValues(a.Outcome).Inc()
	m.seconds.Observe(a.Duration.Seconds())
}
