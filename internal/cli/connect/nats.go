package connect

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

// NATS connects. Unlike a service, it does not wait for a server that can't be
// reached. A server that refuses the connection is ErrRefused.
func NATS(access jetstream.Access, topology events.Topology, options ...nats.Option) (*jetstream.Client, error) {
	options = append(options, nats.RetryOnFailedConnect(false), nats.Timeout(Patience))
	js, err := jetstream.Connect(access, topology, "dispatch-cli", options...)
	switch {
	case jetstream.Refused(err):
		return nil, fmt.Errorf("NATS %w: %w", ErrRefused, err)
	case err != nil:
		return nil, exit.Unreachable(fmt.Errorf("no answer from NATS: %w\n  NATS_URL names its address", err))
	}
	return js, nil
}
