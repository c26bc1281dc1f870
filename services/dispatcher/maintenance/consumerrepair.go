package maintenance

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

const (
	// alignEvery is how often the consumers are compared with their streams,
	// besides after every reconnect, and alignLook how soon that is noticed.
	alignEvery = 5 * time.Second
	alignLook  = 500 * time.Millisecond
)

// ConsumerRepair has consumers begin once more whose stream lost its end: JetStream
// acknowledges before it syncs, so that a power cut takes the last moments of
// a stream, and a broken file as much as lies behind the break. The server
// notices that only for streams on one server, and only at its start.
type ConsumerRepair struct {
	component.Base
	trouble *service.FailureTracker

	suspects map[string]uint64   // what was out of step at the last look, and what it was given last
	orphans  map[uint64]struct{} // copies that nobody is given, as of the last look
}

// NewConsumerRepair returns one that has compared nothing yet.
func NewConsumerRepair(base component.Base) *ConsumerRepair {
	return &ConsumerRepair{
		Base:    base,
		trouble: base.Watch("consumer repair", service.StateDegraded, "comparing consumers with their streams"),
	}
}

// Run compares until ctx ends.
func (a *ConsumerRepair) Run(ctx context.Context) error {
	var compared time.Time
	var session uint64
	for {
		reconnects := a.JS.Conn().Stats().Reconnects
		if a.JS.Conn().IsConnected() && (reconnects != session || len(a.suspects)+len(a.orphans) > 0 || time.Since(compared) >= alignEvery) {
			err := errors.Join(a.compare(ctx), a.clear(ctx))
			if ctx.Err() == nil {
				a.trouble.Report(err)
			}
			if err == nil {
				compared, session = time.Now(), reconnects
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(component.Jitter(alignLook)):
		}
	}
}

// clear takes copies off the work queue that are there at two looks though the
// senders have acknowledged them.
func (a *ConsumerRepair) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, component.RecorderTimeout)
	defer cancel()
	list, err := deliveries.Orphans(ctx, a.JS, message.DefaultDestination)
	if err != nil {
		return err
	}
	seen := make(map[uint64]struct{}, len(list))
	for _, sequence := range list {
		if _, suspected := a.orphans[sequence]; !suspected {
			seen[sequence] = struct{}{}
			continue
		}
		if err := deliveries.RemoveOrphan(ctx, a.JS, sequence); err != nil {
			return err
		}
		a.Log.Warn("took a copy off the queue that nobody is given", zap.Uint64("sequence", sequence))
	}
	a.orphans = seen
	return nil
}

// compare realigns what is out of step at two looks: a stream in a cluster may
// have a leader that is still catching up.
func (a *ConsumerRepair) compare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, component.RecorderTimeout)
	defer cancel()
	list, err := streams.FindMisaligned(ctx, a.JS, []string{message.DefaultDestination})
	if err != nil {
		return err
	}
	seen := make(map[string]uint64, len(list))
	for _, m := range list {
		name := m.Stream + " " + m.Consumer
		if before, suspected := a.suspects[name]; !suspected || before != m.Delivered {
			seen[name] = m.Delivered
			continue
		}
		from, err := streams.Realign(ctx, a.JS, m.Stream, m.Consumer)
		if err != nil {
			return err
		}
		a.Log.Warn("a stream has lost its end; its consumer begins once more",
			zap.String("stream", m.Stream), zap.String("consumer", m.Consumer),
			zap.Uint64("delivered", m.Delivered), zap.Uint64("last", m.Last), zap.Uint64("from", from))
	}
	a.suspects = seen
	return nil
}
