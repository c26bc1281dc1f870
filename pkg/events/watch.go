package events

import (
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Wake tells the dispatchers that something may have become due. It is a hint
// and no more: nobody waits for it, and without a connection it is left out.
func Wake(js jetstream.JetStream, topology Topology) {
	if js.Conn().IsConnected() {
		_ = js.Conn().Publish(topology.Wake(), nil) // lost, it costs the dispatchers' next look
	}
}

// Watch calls noticed for each Wake from now on, until stop is called. What
// is published while the connection is away goes unnoticed. noticed must not
// block.
func Watch(js jetstream.JetStream, topology Topology, noticed func()) (stop func() error, err error) {
	subscription, err := js.Conn().Subscribe(topology.Wake(), func(*nats.Msg) { noticed() })
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", topology.Wake(), err)
	}
	return subscription.Unsubscribe, nil
}
