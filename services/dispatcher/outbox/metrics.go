package outbox

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// Kinds of outbox rows.
const (
	kindClaim  = "claim"
	kindEvents = "events"
)

type relayMetrics struct {
	relayed *prometheus.CounterVec
	refused prometheus.Counter
}

func newRelayMetrics(base component.Base) relayMetrics {
	return relayMetrics{
		relayed: base.CounterVec("relayed_batches_total",
			"Outbox rows that this dispatcher published for others, by kind: claim or events.", "kind", kindClaim, kindEvents),
		refused: base.Counter("refused_batches_total",
			"Attempts to publish a row of events that NATS refused. Each row is tried again after a minute."),
	}
}
