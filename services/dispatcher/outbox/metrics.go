package outbox

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// relayMetrics is what is worth watching of the relay.
type relayMetrics struct {
	relayed *prometheus.CounterVec
	refused prometheus.Counter
}

// Kinds of outbox rows.
const (
	kindClaim  = "claim"
	kindEvents = "events"
)

func newRelayMetrics(base component.Base) *relayMetrics {
	return &relayMetrics{
		relayed: base.CounterVec("relayed_batches_total", "Outbox rows that this dispatcher published for others, by kind: claim or events.", "kind", kindClaim, kindEvents),
		refused: base.Counter("refused_batches_total", "Tries of outbox rows with events that NATS did not take; they are tried again every minute."),
	}
}
