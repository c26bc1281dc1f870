package component

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Every metric of a dispatcher is called dispatch_dispatcher_<name>.
const (
	namespace = "dispatch"
	subsystem = "dispatcher"
)

// Counter creates and registers a counter.
func (b Base) Counter(name, help string) prometheus.Counter {
	return promauto.With(b.Registry).NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help})
}

// CounterVec creates and registers a counter with one label. All values of the
// label are shown as 0 from the start, because rates and alerts need a series
// that exists.
func (b Base) CounterVec(name, help, label string, values ...string) *prometheus.CounterVec {
	vec := promauto.With(b.Registry).NewCounterVec(
		prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, []string{label})
	for _, value := range values {
		vec.WithLabelValues(value)
	}
	return vec
}

// Gauge creates and registers a gauge.
func (b Base) Gauge(name, help string) prometheus.Gauge {
	return promauto.With(b.Registry).NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help})
}

// Histogram creates and registers a histogram.
func (b Base) Histogram(name, help string, buckets ...float64) prometheus.Histogram {
	return promauto.With(b.Registry).NewHistogram(
		prometheus.HistogramOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help, Buckets: buckets})
}
