package outbox

import (
	"context"
	"errors"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

const (
	// AbandonedAfter is the age from which a relay takes an outbox row. Its owner
	// may publish it for PublishTimeout; the second on top covers what is still
	// on its way then.
	AbandonedAfter = component.PublishTimeout + time.Second
	// relayEvery is the time between two rounds, maxRows how many rows a relay
	// takes at once.
	relayEvery = time.Second
	maxRows    = 50
)

// Relay publishes outbox rows that their owners left behind. The owner may be
// an earlier life of this process. It is safe for concurrent use.
type Relay struct {
	component.Base
	metrics  relayMetrics
	failures *service.FailureTracker
}

// NewRelay returns a Relay.
func NewRelay(base component.Base) *Relay {
	return &Relay{Base: base, metrics: newRelayMetrics(base), failures: base.Track("relay", service.StateDown, "relay")}
}

// Run relays until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	return r.LoopConnected(ctx, service.Loop{Every: relayEvery, Immediately: true, Failures: r.failures}, r.Round)
}

// Round relays everything that is abandoned now. Claims come first, because the
// pace waits for them.
func (r *Relay) Round(ctx context.Context) error {
	return errors.Join(r.relayClaims(ctx), r.relayEvents(ctx))
}

// missingOf returns those of a row's entries that are among missing.
func missingOf(entries, missing []events.OutboxMessage) []events.OutboxMessage {
	if len(missing) == 0 {
		return nil
	}
	isMissing := make(map[string]bool, len(missing))
	for _, m := range missing {
		isMissing[m.Subject+" "+m.MsgID] = true
	}
	var found []events.OutboxMessage
	for _, e := range entries {
		if isMissing[e.Subject+" "+e.MsgID] {
			found = append(found, e)
		}
	}
	return found
}
