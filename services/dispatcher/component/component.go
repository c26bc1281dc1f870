// Package component holds what every component of a dispatcher is built from:
// its connections, its time limits, and how it reports failures and metrics.
package component

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// Base holds the dependencies of a component. All fields are set, and nobody
// changes them after the start, so components share it by value.
type Base struct {
	Store            *db.Store
	JS               *jetstream.Client
	Builder          events.EventBuilder
	Publisher        jetstream.Publisher
	RecorderProgress jetstream.RecorderProgress
	Lease            time.Duration // how long an emitted id may have no outcome
	Log              *zap.Logger
	Health           *service.Health
	Registry         prometheus.Registerer
}

// Track returns the failure tracker of a component. Health shows it under the
// component's name; worst is the most that a failure does to the dispatcher.
// what is the subject of the log lines, such as "retention".
func (b Base) Track(name string, worst service.State, what string) *service.FailureTracker {
	t := service.NewFailureTracker(b.Log, what)
	b.Health.Watch(name, worst, t)
	return t
}
