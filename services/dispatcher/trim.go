package dispatcher

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
)

// trimEvery is how often it is looked whether EVENTS has room, and trimAgain how
// soon when it had none: large events fill it quickly.
const (
	trimEvery = time.Second
	trimAgain = 100 * time.Millisecond
)

// trimmer makes room in EVENTS.
type trimmer struct {
	js       jetstream.JetStream
	topology events.Topology
	log      *zap.Logger
	trouble  *trouble
}

// Run trims until ctx ends.
func (t *trimmer) Run(ctx context.Context) error {
	for wait := trimEvery; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(jitter(wait)):
		}
		wait = trimEvery
		if !t.js.Conn().IsConnected() {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, storeWait)
		trimmed, err := t.topology.TrimEvents(bounded, t.js)
		cancel()
		if trimmed > 0 {
			wait = trimAgain
			t.log.Info("made room for events", zap.Uint64("oldest", trimmed))
		}
		if ctx.Err() == nil {
			t.trouble.is(err)
		}
	}
}
