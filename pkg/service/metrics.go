package service

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is the process's own registry. Nothing is registered globally. Services in
// one process share it, so the names of their metrics must differ.
type Metrics struct{ *prometheus.Registry }

// NewMetrics returns a registry with the Go runtime, the process and
// dispatch_build_info.
func NewMetrics() *Metrics {
	m := &Metrics{Registry: prometheus.NewRegistry()}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "dispatch_build_info",
		Help:        "Always 1; the label is the version.",
		ConstLabels: prometheus.Labels{"version": Version()},
	})
	build.Set(1)
	m.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in Prometheus' text format. If a collector fails, only
// its own metrics are missing.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{Registry: m.Registry, ErrorHandling: promhttp.ContinueOnError})
}

// WatchHealth exports the states of a service's dependencies as
// dispatch_dependency_state{service,dependency,state}: 1 for the present state, 0
// for the others. The dependency "service" exists while the service starts or
// stops. WatchHealth panics if the service is already registered.
func (m *Metrics) WatchHealth(service string, h *Health) {
	m.MustRegister(&healthCollector{health: h, desc: prometheus.NewDesc(
		"dispatch_dependency_state",
		"1 for the state that the dependency is in: ok, degraded or down.",
		[]string{"dependency", "state"},
		prometheus.Labels{"service": service},
	)})
}

type healthCollector struct {
	health *Health
	desc   *prometheus.Desc
}

func (c *healthCollector) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

func (c *healthCollector) Collect(to chan<- prometheus.Metric) {
	for name, status := range c.health.ownStatuses() {
		for _, state := range []State{StateOK, StateDegraded, StateDown} {
			value := 0.0
			if status.State == state {
				value = 1
			}
			to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, value, name, string(state))
		}
	}
}
