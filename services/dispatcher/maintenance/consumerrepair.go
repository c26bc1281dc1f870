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
	// compareEvery is how often consumers are compared with their streams. They
	// are also compared after each reconnect.
	compareEvery = 5 * time.Second
	// checkEvery is how soon a reconnect is noticed.
	checkEvery = 500 * time.Millisecond
)

// ConsumerRepair restarts consumers whose stream has lost its end.
//
// JetStream acknowledges a message before it syncs the file. A power cut loses
// the last moments of a stream; a damaged file loses everything after the
// damage. The stream then reuses the numbers, and a consumer that is ahead
// would skip them. The server notices that only for streams on one server, and
// only when it starts.
type ConsumerRepair struct {
	component.Base
	failures *service.FailureTracker

	// Findings of the last comparison. They are repaired if the next one finds
	// them too, because the leader of a stream may still be catching up.
	ahead    map[string]uint64   // consumers ahead of their stream: the number delivered last
	orphaned map[uint64]struct{} // messages on the work queue that no consumer delivers
	compared time.Time           // when there was a comparison without an error; zero: never
	session  uint64              // reconnects until then
}

// NewConsumerRepair returns a ConsumerRepair.
func NewConsumerRepair(base component.Base) *ConsumerRepair {
	return &ConsumerRepair{
		Base:     base,
		failures: base.Track("consumer repair", service.StateDegraded, "comparing consumers with their streams"),
	}
}

// Run compares and repairs until ctx ends.
func (c *ConsumerRepair) Run(ctx context.Context) error {
	loop := service.Loop{Every: checkEvery, Immediately: true}
	return loop.Run(ctx, func(ctx context.Context) error {
		reconnects := c.JS.Conn().Stats().Reconnects
		if !c.JS.Conn().IsConnected() || !c.due(reconnects) {
			return nil
		}
		err := errors.Join(c.repairConsumers(ctx), c.removeOrphans(ctx))
		if ctx.Err() == nil {
			c.failures.Report(err)
		}
		if err == nil {
			c.compared, c.session = time.Now(), reconnects
		}
		return nil
	})
}

// due says whether it is time to compare.
func (c *ConsumerRepair) due(reconnects uint64) bool {
	return reconnects != c.session || len(c.ahead)+len(c.orphaned) > 0 || time.Since(c.compared) >= compareEvery
}

// repairConsumers restarts the consumers that two comparisons in a row found
// ahead of their stream.
func (c *ConsumerRepair) repairConsumers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, component.RecorderTimeout)
	defer cancel()
	list, err := streams.BrokenConsumers(ctx, c.JS, []string{message.DefaultDestination})
	if err != nil {
		return err
	}
	found := make(map[string]uint64, len(list))
	for _, m := range list {
		name := m.Stream + " " + m.Consumer
		if before, again := c.ahead[name]; !again || before != m.Delivered {
			found[name] = m.Delivered
			continue
		}
		from, err := streams.RepairConsumer(ctx, c.JS, m.Stream, m.Consumer)
		if err != nil {
			return err
		}
		c.Log.Warn("restarted a consumer, because its stream has lost its end",
			zap.String("stream", m.Stream), zap.String("consumer", m.Consumer),
			zap.Uint64("delivered", m.Delivered), zap.Uint64("last", m.Last), zap.Uint64("from", from))
	}
	c.ahead = found
	return nil
}

// removeOrphans removes the messages from the work queue that two comparisons
// in a row found there although the senders have acknowledged them.
func (c *ConsumerRepair) removeOrphans(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, component.RecorderTimeout)
	defer cancel()
	list, err := deliveries.Orphans(ctx, c.JS, message.DefaultDestination)
	if err != nil {
		return err
	}
	found := make(map[uint64]struct{}, len(list))
	for _, sequence := range list {
		if _, again := c.orphaned[sequence]; !again {
			found[sequence] = struct{}{}
			continue
		}
		if err := deliveries.RemoveOrphan(ctx, c.JS, sequence); err != nil {
			return err
		}
		c.Log.Warn("removed an id from the work queue that no consumer delivers", zap.Uint64("sequence", sequence))
	}
	c.orphaned = found
	return nil
}
