package service

import (
	"errors"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Lifecycle is the block of settings for observing and stopping a service.
type Lifecycle struct {
	ShutdownTimeout time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"75s" help:"how long work in flight may take to finish after SIGTERM"`
	HealthAddr      string        `env:"HEALTH_ADDR" help:"host:port for /health, /health/ready and /metrics; unset: off"`

	// Health and Metrics are where the service reports its state. Nil: the service
	// gets its own. A process that runs several services sets both, so that one
	// server shows all of them.
	Health  *Health  `env:"-"`
	Metrics *Metrics `env:"-"`
}

// Observe returns the Health and Metrics of a service and exports its health as
// metrics under the given name. Call it once per service.
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

// Validate reports all validation errors of the block.
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
