package maintenance

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// trimEvery is how often it is looked whether EVENTS has room, and trimAgain how
// soon when it had none: large events fill it quickly.
const (
	trimEvery = time.Second
	trimAgain = 100 * time.Millisecond
)

// Trimmer makes room in EVENTS.
type Trimmer struct {
	component.Base
	trouble *service.FailureTracker
}

// NewTrimmer returns one that is ready to run.
func NewTrimmer(base component.Base) *Trimmer {
	return &Trimmer{Base: base, trouble: base.Watch("trimmer", service.StateDegraded, "making room for events")}
}

// Run trims until ctx ends.
func (t *Trimmer) Run(ctx context.Context) error {
	for wait := trimEvery; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(component.Jitter(wait)):
		}
		wait = trimEvery
		if !t.JS.Conn().IsConnected() {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, component.StoreTimeout)
		trimmed, err := streams.TrimEvents(bounded, t.JS)
		cancel()
		if trimmed > 0 {
			wait = trimAgain
			t.Log.Info("made room for events", zap.Uint64("oldest", trimmed))
		}
		if ctx.Err() == nil {
			t.trouble.Report(err)
		}
	}
}
