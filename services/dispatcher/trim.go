package dispatcher

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
)

// trimEvery is how often it is looked whether EVENTS has room.
const trimEvery = time.Second

// trimmer makes room in EVENTS.
type trimmer struct {
	js       jetstream.JetStream
	topology events.Topology
	log      *zap.Logger
	trouble  *trouble
}

// Run trims until ctx ends.
func (t *trimmer) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(jitter(trimEvery)):
		}
		if !t.js.Conn().IsConnected() {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, storeWait)
		trimmed, err := t.topology.TrimEvents(bounded, t.js)
		cancel()
		if trimmed > 0 {
			t.log.Info("made room for events", zap.Uint64("oldest", trimmed))
		}
		if ctx.Err() == nil {
			t.trouble.is(err)
		}
	}
}
