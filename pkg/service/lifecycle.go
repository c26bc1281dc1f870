package service

import (
	"errors"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Lifecycle is the block of settings for how a service is watched and stopped.
type Lifecycle struct {
	ShutdownTimeout time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"75s" help:"how long work in flight may take to finish after SIGTERM"`
	HealthAddr      string        `env:"HEALTH_ADDR" help:"host:port for /health, /health/ready and /metrics; unset: off"`

	// Health and Metrics are where the service shows how it is; nil for a place
	// of its own. They are set by a process that runs several services and
	// answers for all of them.
	Health  *Health  `env:"-"`
	Metrics *Metrics `env:"-"`
}

// Observe returns where a service shows how it is, and has its health shown
// among the metrics under its name. Call it once for each service.
func (l Lifecycle) Observe(service string) (*Health, *Metrics) {
	health, metrics := l.Health, l.Metrics
	if health == nil {
		health = NewHealth()
	}
	if metrics == nil {
		metrics = NewMetrics()
	}
	metrics.WatchHealth(service, health)
	return health, metrics
}

// Validate reports every mistake of the block.
func (l Lifecycle) Validate() error {
	var errs []error
	if l.ShutdownTimeout <= 0 {
		errs = append(errs, settings.Invalid("SHUTDOWN_TIMEOUT", l.ShutdownTimeout, "must be more than 0"))
	}
	if l.HealthAddr != "" {
		errs = append(errs, settings.ValidAddr("HEALTH_ADDR", l.HealthAddr))
	}
	return errors.Join(errs...)
}
