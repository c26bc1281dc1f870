package dispatcher

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	// alignEvery is how often the consumers are compared with their streams,
	// besides after every reconnect, and alignLook how soon that is noticed.
	alignEvery = 5 * time.Second
	alignLook  = 500 * time.Millisecond
)

// aligner has consumers begin once more whose stream lost its end: JetStream
// acknowledges before it syncs, so that a power cut takes the last moments of
// a stream, and a broken file as much as lies behind the break. The server
// notices that only for streams on one server, and only at its start.
type aligner struct {
	js       jetstream.JetStream
	topology events.Topology
	log      *zap.Logger
	trouble  *trouble

	suspects map[string]uint64   // what was out of step at the last look, and what it was given last
	orphans  map[uint64]struct{} // copies that nobody is given, as of the last look
}

// Run compares until ctx ends.
func (a *aligner) Run(ctx context.Context) error {
	var compared time.Time
	var session uint64
	for {
		reconnects := a.js.Conn().Stats().Reconnects
		if a.js.Conn().IsConnected() && (reconnects != session || len(a.suspects)+len(a.orphans) > 0 || time.Since(compared) >= alignEvery) {
			err := errors.Join(a.compare(ctx), a.clear(ctx))
			if ctx.Err() == nil {
				a.trouble.is(err)
			}
			if err == nil {
				compared, session = time.Now(), reconnects
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(jitter(alignLook)):
		}
	}
}

// clear takes copies off the work queue that are there at two looks though the
// senders have acknowledged them.
func (a *aligner) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recorderWait)
	defer cancel()
	list, err := a.topology.Orphans(ctx, a.js, message.DefaultDestination)
	if err != nil {
		return err
	}
	seen := make(map[uint64]struct{}, len(list))
	for _, sequence := range list {
		if _, suspected := a.orphans[sequence]; !suspected {
			seen[sequence] = struct{}{}
			continue
		}
		if err := a.topology.RemoveOrphan(ctx, a.js, sequence); err != nil {
			return err
		}
		a.log.Warn("took a copy off the queue that nobody is given", zap.Uint64("sequence", sequence))
	}
	a.orphans = seen
	return nil
}

// compare realigns what is out of step at two looks: a stream in a cluster may
// have a leader that is still catching up.
func (a *aligner) compare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recorderWait)
	defer cancel()
	list, err := a.topology.Misaligned(ctx, a.js, []string{message.DefaultDestination})
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
		from, err := a.topology.Realign(ctx, a.js, m.Stream, m.Consumer)
		if err != nil {
			return err
		}
		a.log.Warn("a stream has lost its end; its consumer begins once more",
			zap.String("stream", m.Stream), zap.String("consumer", m.Consumer),
			zap.Uint64("delivered", m.Delivered), zap.Uint64("last", m.Last), zap.Uint64("from", from))
	}
	a.suspects = seen
	return nil
}
