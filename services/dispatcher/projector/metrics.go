package projector

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// Metrics are the metrics of a Projector. They are served also where there is no
// Redis.
type Metrics struct {
	copied prometheus.Counter
	lag    prometheus.Gauge
}

// NewMetrics creates and registers them.
func NewMetrics(base component.Base) Metrics {
	return Metrics{
		copied: base.Counter("redis_copied_states_total", "States that this dispatcher copied to Redis."),
		lag:    base.Gauge("redis_lag_notifications", "Change notifications that are not yet copied to Redis, as this dispatcher last saw it."),
	}
}
