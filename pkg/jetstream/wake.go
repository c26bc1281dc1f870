package jetstream

import (
	"fmt"

	"github.com/nats-io/nats.go"
)

// Wake tells the dispatchers that something may have become due. It is a hint
// and no more: nobody waits for it, and without a connection it is left out.
func Wake(js *Client) {
	if js.Conn().IsConnected() {
		_ = js.Conn().Publish(js.WakeSubject(), nil) // lost, it costs the dispatchers' next look
	}
}

// Watch calls noticed for each Wake from now on, until stop is called. What
// is published while the connection is away goes unnoticed. noticed must not
// block.
func Watch(js *Client, noticed func()) (stop func() error, err error) {
	subscription, err := js.Conn().Subscribe(js.WakeSubject(), func(*nats.Msg) { noticed() })
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", js.WakeSubject(), err)
	}
	return subscription.Unsubscribe, nil
}
