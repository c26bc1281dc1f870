package maintenance

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

const (
	// trimEvery is how often the trimmer checks whether EVENTS has room.
	trimEvery = time.Second
	// trimAgain is the wait after it had to make room, because large events
	// fill EVENTS again quickly.
	trimAgain = 100 * time.Millisecond
)

// Trimmer deletes the oldest events when EVENTS is nearly full.
type Trimmer struct {
	component.Base
	failures *service.FailureTracker
}

// NewTrimmer returns a Trimmer.
func NewTrimmer(base component.Base) *Trimmer {
	return &Trimmer{Base: base, failures: base.Track("trimmer", service.StateDegraded, "trimming events")}
}

// Run trims until ctx ends.
func (t *Trimmer) Run(ctx context.Context) error {
	return t.LoopConnected(ctx, service.Loop{Every: trimEvery, Failures: t.failures}, t.trim)
}

func (t *Trimmer) trim(ctx context.Context) error {
	for {
		trimmed, err := t.trimOnce(ctx)
		if trimmed > 0 {
			t.Log.Info("deleted old events to make room", zap.Uint64("oldest", trimmed))
		}
		if err != nil || trimmed == 0 || !service.Sleep(ctx, service.Jitter(trimAgain)) {
			return err
		}
	}
}

func (t *Trimmer) trimOnce(ctx context.Context) (oldest uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	return streams.TrimEvents(ctx, t.JS)
}
