package component

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// The time limits that several components share.
const (
	// PublishTimeout is how long the owner of an outbox row may publish it.
	PublishTimeout = db.PublishDeadline
	// StoreTimeout bounds one call to Postgres, and AskTimeout one to NATS.
	StoreTimeout = 5 * time.Second
	AskTimeout   = 2 * time.Second
	// RecorderTimeout bounds a wait for the recorder, and RecordTimeout the
	// recording of one batch.
	RecorderTimeout = 10 * time.Second
	RecordTimeout   = 10 * time.Second
)

// MaxQueued is how many ids may wait for the senders of a destination in the
// continuous mode before no tick is run.
const MaxQueued = 10_000

// Base is what every component of a dispatcher is made from.
type Base struct {
	Store     *db.Store
	JS        *jetstream.Client
	Topology  events.Topology
	Composer  events.Composer
	Publisher jetstream.Publisher
	Positions jetstream.Positions
	Lease     time.Duration
	Log       *zap.Logger
	Health    *service.Health
	Registry  prometheus.Registerer
}

// Watch returns the failures of a component, which health shows under the
// component's name. worst is what they do to the dispatcher, and what is the
// subject of the log's sentences about them.
func (b Base) Watch(name string, worst service.State, what string) *service.FailureTracker {
	t := service.NewFailureTracker(b.Log, what)
	b.Health.Watch(name, worst, t)
	return t
}

// Counter makes and registers a counter.
func (b Base) Counter(name, help string) prometheus.Counter {
	return promauto.With(b.Registry).NewCounter(prometheus.CounterOpts{Namespace: "dispatch", Subsystem: "dispatcher", Name: name, Help: help})
}

// Gauge makes and registers a gauge.
func (b Base) Gauge(name, help string) prometheus.Gauge {
	return promauto.With(b.Registry).NewGauge(prometheus.GaugeOpts{Namespace: "dispatch", Subsystem: "dispatcher", Name: name, Help: help})
}

// CounterVec makes and registers a counter with one label, and shows each of
// its values from the start, as 0: a rate can't be taken of a series that is
// not there, nor an alarm raised.
func (b Base) CounterVec(name, help, label string, values ...string) *prometheus.CounterVec {
	vec := promauto.With(b.Registry).NewCounterVec(prometheus.CounterOpts{Namespace: "dispatch", Subsystem: "dispatcher", Name: name, Help: help}, []string{label})
	for _, value := range values {
		vec.WithLabelValues(value)
	}
	return vec
}

// AwaitAllRecorded returns once the recorder has passed everything that EVENTS
// holds now.
func AwaitAllRecorded(ctx context.Context, positions jetstream.Positions) error {
	last, err := positions.Last(ctx)
	if err != nil {
		return err
	}
	return positions.AwaitRecorded(ctx, last)
}
