package events

import (
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Watch calls noticed for each message that is published on subject from now
// on, until stop is called. It is a hint and no more: what is published while
// the connection is away goes unnoticed. noticed must not block.
func Watch(js jetstream.JetStream, subject string, noticed func()) (stop func() error, err error) {
	subscription, err := js.Conn().Subscribe(subject, func(*nats.Msg) { noticed() })
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", subject, err)
	}
	return subscription.Unsubscribe, nil
}
