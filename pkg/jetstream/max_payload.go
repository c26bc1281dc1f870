package jetstream

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// LeastMaxPayload is what max_payload of NATS has to be in any case: an event
// without content fits, and so does a note of changed messages.
const LeastMaxPayload = 64 << 10

// besidesPayload is what surrounds the payload of a message at most.
const besidesPayload = 64 << 10

// checkMaxPayload asks the server that is connected.
func checkMaxPayload(nc *nats.Conn) error {
	if limit := nc.MaxPayload(); limit > 0 && limit < LeastMaxPayload {
		return fmt.Errorf("%w: it is %d bytes, and has to be at least %d", ErrMaxPayload, limit, LeastMaxPayload)
	}
	return nil
}

// PayloadNeeds say how large max_payload of NATS has to be for everything to
// pass that the settings allow.
type PayloadNeeds struct {
	MaxPayloadBytes int  // of a message
	FullContent     bool // in events
}

// Missing says what does not pass, as the end of a sentence; empty: nothing.
func (n PayloadNeeds) Missing(nc *nats.Conn) string {
	limit, needed := nc.MaxPayload(), int64(n.MaxPayloadBytes)+besidesPayload
	if limit <= 0 || limit >= needed {
		return ""
	}
	missing := fmt.Sprintf("max_payload of NATS is %d bytes and MAX_PAYLOAD_BYTES=%d needs %d: larger messages come in over HTTP alone", limit, n.MaxPayloadBytes, needed)
	if n.FullContent {
		missing += ", and their events go without content though EVENT_CONTENT=full"
	}
	return missing
}

// payloadEvery is how often Watch looks: a server may be reloaded with another
// max_payload, and a reconnect may lead to another server.
const payloadEvery = time.Second

// Watch calls warn when a connection is made on which something does not pass,
// and whenever that changes, until ctx ends.
func (n PayloadNeeds) Watch(nc *nats.Conn, warn func(missing string)) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		told := ""
		for {
			if missing := n.Missing(nc); missing != told {
				if told = missing; missing != "" {
					warn(missing)
				}
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(payloadEvery):
			}
		}
	}
}
