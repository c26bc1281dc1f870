// Package metrics defines the metrics of ingest.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// The sources of messages.
const (
	SourceHTTP   = "http"
	SourceMicro  = "micro"  // requests over NATS
	SourceIntake = "intake" // the intake stream
)

// Metrics are the metrics of ingest. Its methods are safe for concurrent use.
type Metrics struct {
	registry *service.Metrics
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	messages *prometheus.CounterVec

	GroupSize prometheus.Histogram
	FastPath  prometheus.Counter // messages
	Relayed   prometheus.Counter // outbox rows
	InFlight  prometheus.Gauge   // HTTP requests
}

// New registers the metrics.
func New(registry *service.Metrics) *Metrics {
	m := &Metrics{
		registry: registry,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dispatch_ingest_http_requests_total",
			Help: "HTTP requests that got a response, by route, method and status.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "dispatch_ingest_http_request_seconds",
			Help:    "How long HTTP requests took, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		InFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dispatch_ingest_http_requests_in_flight",
			Help: "HTTP requests that have no response yet.",
		}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dispatch_ingest_messages_total",
			Help: "Messages received, by source (http, micro, intake) and result (stored, repeated, rejected, failed).",
		}, []string{"source", "result"}),
		GroupSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "dispatch_ingest_group_size",
			Help:    "Messages stored by one transaction.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500},
		}),
		FastPath: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dispatch_ingest_fast_path_messages_total",
			Help: "Messages claimed and emitted by the transaction that stored them, because no other message was waiting (continuous mode).",
		}),
		Relayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dispatch_ingest_outbox_relayed_total",
			Help: "Outbox rows left to a dispatcher's relay, because NATS did not acknowledge them in time.",
		}),
	}
	registry.MustRegister(m.requests, m.seconds, m.InFlight, m.messages, m.GroupSize, m.FastPath, m.Relayed)
	for _, source := range []string{SourceHTTP, SourceMicro, SourceIntake} {
		for _, result := range []string{"stored", "repeated", "rejected", "failed"} {
			m.messages.WithLabelValues(source, result) // shown as 0 from the start
		}
	}
	return m
}

// WatchQueue registers the number of messages that wait to be stored.
func (m *Metrics) WatchQueue(messages func() int64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dispatch_ingest_queue_messages",
		Help: "Messages that wait to be stored.",
	}, func() float64 { return float64(messages()) }))
}

// WatchConnections registers the number of open connections.
func (m *Metrics) WatchConnections(open func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dispatch_ingest_http_connections",
		Help: "Open HTTP connections.",
	}, func() float64 { return float64(open()) }))
}

// Request counts an HTTP request.
func (m *Metrics) Request(route, method string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

// Message counts a message from one of the sources. repeated says that it was
// stored before; err says why it is not stored.
func (m *Metrics) Message(source string, repeated bool, err error) {
	result := "stored"
	switch {
	case err != nil && isClientError(err):
		result = "rejected"
	case err != nil:
		result = "failed"
	case repeated:
		result = "repeated"
	}
	m.messages.WithLabelValues(source, result).Inc()
}

// isClientError reports whether the message itself is at fault.
func isClientError(err error) bool {
	p := db.ProblemOf(err)
	return p.Status < http.StatusInternalServerError && p.Code != message.ProblemOverloaded
}
