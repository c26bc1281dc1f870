package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// Metrics are the metrics of ingest.
type Metrics struct {
	metrics  *service.Metrics
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	messages *prometheus.CounterVec
	Groups   prometheus.Histogram
	Claimed  prometheus.Counter
	Relayed  prometheus.Counter
	InFlight prometheus.Gauge
}

func New(metrics *service.Metrics) *Metrics {
	c := &Metrics{
		metrics: metrics,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dispatch_ingest_http_requests_total",
			Help: "HTTP requests answered, by route, method and status.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "dispatch_ingest_http_request_seconds",
			Help:    "How long HTTP requests took, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		InFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dispatch_ingest_http_requests_in_flight",
			Help: "HTTP requests that are being answered.",
		}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dispatch_ingest_messages_total",
			Help: "Messages that came in, by source (http, micro, intake) and result (stored, repeated, rejected, failed).",
		}, []string{"source", "result"}),
		Groups: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "dispatch_ingest_group_size",
			Help:    "Messages stored by one transaction.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500},
		}),
		Claimed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dispatch_ingest_claimed_messages_total",
			Help: "Messages that this ingest claimed and emitted as they arrived, since none was waiting for a tick of the continuous mode.",
		}),
		Relayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dispatch_ingest_announcements_left_total",
			Help: "Outbox rows that ingest left to a dispatcher's relay, because NATS did not take them in time.",
		}),
	}
	metrics.MustRegister(c.requests, c.seconds, c.InFlight, c.messages, c.Groups, c.Claimed, c.Relayed)
	for _, source := range []string{"http", "micro", "intake"} {
		for _, result := range []string{"stored", "repeated", "rejected", "failed"} {
			c.messages.WithLabelValues(source, result) // shown from the start, as 0
		}
	}
	return c
}

// WatchQueue shows how many messages wait for a transaction.
func (c *Metrics) WatchQueue(queued func() int64) {
	c.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dispatch_ingest_queue_messages",
		Help: "Messages that wait to be stored.",
	}, func() float64 { return float64(queued()) }))
}

// WatchConnections shows how many clients are connected.
func (c *Metrics) WatchConnections(count func() int) {
	c.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dispatch_ingest_http_connections",
		Help: "HTTP connections that are open.",
	}, func() float64 { return float64(count()) }))
}

func (c *Metrics) Request(route, method string, status int, took time.Duration) {
	c.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	c.seconds.WithLabelValues(route).Observe(took.Seconds())
}

// rejected reports whether an error is the message's own.
func rejectedBy(err error) bool {
	p := db.ProblemOf(err)
	return p.Status < 500 && p.Code != message.ProblemOverloaded
}

// Accepted counts what became of a message.
func (c *Metrics) Accepted(source string, repeated bool, err error) {
	result := "stored"
	switch {
	case err != nil && rejectedBy(err):
		result = "rejected"
	case err != nil:
		result = "failed"
	case repeated:
		result = "repeated"
	}
	c.messages.WithLabelValues(source, result).Inc()
}
