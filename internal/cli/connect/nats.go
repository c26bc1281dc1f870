package connect

import (
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/pkg/events"
)

// NATS connects, and gives up at once when nobody is there.
func NATS(access events.Access, options ...nats.Option) (jetstream.JetStream, error) {
	options = append(options, nats.RetryOnFailedConnect(false), nats.Timeout(Patience))
	js, err := events.Open(access, "dispatch-cli", options...)
	switch {
	case events.Refused(err):
		return nil, fmt.Errorf("NATS %w: %w", ErrRefused, err)
	case err != nil:
		return nil, exit.Unreachable(fmt.Errorf("no answer from NATS: %w\n  NATS_URL says where it is", err))
	}
	return js, nil
}
