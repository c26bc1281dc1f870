package sender

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// reason is why a copy was not sent.
type reason string

const (
	reasonEnded     reason = "ended"         // its message is at its end, or waits for a tick
	reasonOvertaken reason = "older_claim"   // a newer copy counts
	reasonLapsed    reason = "lapsed"        // it could not be held
	reasonEarly     reason = "early"         // its next attempt is not due
	reasonRecorder  reason = "recorder_late" // what became of it is not recorded yet
	reasonShutdown  reason = "shutdown"      // given back unsent
	reasonExhausted reason = "exhausted"     // this machine could open no connection
)

func reasons() []reason {
	return []reason{reasonEnded, reasonOvertaken, reasonLapsed, reasonEarly, reasonRecorder, reasonShutdown, reasonExhausted}
}

// meters are the sender's metrics.
type meters struct {
	attempts *prometheus.CounterVec
	seconds  prometheus.Histogram
	inFlight prometheus.Gauge
	unsent   *prometheus.CounterVec
	untold   prometheus.Gauge
}

// newMeters registers the metrics; held tells how many copies are in hand.
func newMeters(registry prometheus.Registerer, destination string, held func() int) *meters {
	labels := prometheus.Labels{"destination": destination}
	m := &meters{
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
			Help: "Requests to the webhook that wait for an answer.",
		}),
		unsent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dispatch_sender_copies_unsent_total", ConstLabels: labels,
			Help: "Copies of ids that were dropped or given back without an attempt, by reason.",
		}, []string{"reason"}),
		untold: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dispatch_sender_events_waiting", ConstLabels: labels,
			Help: "Outcomes whose status event or schedule is not acknowledged yet.",
		}),
	}
	inHand := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dispatch_sender_copies_held", ConstLabels: labels,
		Help: "Copies of ids in hand, waiting or in flight.",
	}, func() float64 { return float64(held()) })
	registry.MustRegister(m.attempts, m.seconds, m.inFlight, m.unsent, m.untold, inHand)
	for _, r := range reasons() {
		m.unsent.WithLabelValues(string(r))
	}
	for _, outcome := range []string{message.OutcomeSuccess, message.OutcomeRetry, message.OutcomeFailure, message.OutcomeExpired} {
		m.attempts.WithLabelValues(outcome)
	}
	return m
}

func (m *meters) attempted(a *message.Attempt) {
	m.attempts.WithLabelValues(a.Outcome).Inc()
	m.seconds.Observe(a.Duration.Seconds())
}
