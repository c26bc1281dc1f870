package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

const (
	// lossEvery is how often Postgres is compared with EVENTS.
	lossEvery = time.Second
	// lossWait bounds a comparison.
	lossWait = 10 * time.Second
)

// progress is how far the recorder is, for the notes that it makes in Postgres.
// It is safe for concurrent use.
type progress struct {
	known atomic.Bool // a comparison was made
	acked atomic.Uint64
}

// after returns up to which event all outcomes are known to be recorded.
func (p *progress) after() (event uint64, known bool) {
	known = p.known.Load() // before the event, which is stored first
	return p.acked.Load(), known
}

// losses notices that Postgres has lost commits: it was put back, or another
// server took over that had not received them. Then JetStream knows more than
// Postgres. It shows by the server's timeline, by its log, which never gets
// shorter, and by outcomes that the recorder has acknowledged and Postgres
// does not have.
type losses struct {
	store    *db.Store
	js       jetstream.JetStream
	topology events.Topology
	repair   *repairer
	progress *progress
	log      *zap.Logger
	trouble  *trouble

	ready   chan struct{} // closed after the first comparison that found no loss
	opened  bool
	lossy   atomic.Bool // what the last comparison found
	server  string      // at the last comparison
	flushed int64
}

// Run compares until ctx ends, and repairs what it finds.
func (l *losses) Run(ctx context.Context) error {
	for {
		if l.js.Conn().IsConnected() {
			err := l.round(ctx)
			if ctx.Err() == nil {
				l.trouble.is(err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(jitter(lossEvery)):
		}
	}
}

// whenReady starts a component once it is known that Postgres has lost nothing,
// or that is repaired.
func (l *losses) whenReady(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-l.ready:
			return run(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// status is what health tells.
func (l *losses) status(context.Context) service.Status {
	if l.lossy.Load() {
		return service.Down("Postgres has lost commits, or another server took over; reading events again")
	}
	return service.OK()
}

func (l *losses) round(ctx context.Context) error {
	trusted, err := l.compare(ctx)
	if err != nil {
		return err
	}
	l.lossy.Store(!trusted)
	if !trusted {
		return l.repair.run(ctx)
	}
	if !l.opened {
		l.opened = true
		close(l.ready)
	}
	return nil
}

// compare says whether Postgres has all commits, as far as anybody knows.
func (l *losses) compare(ctx context.Context) (trusted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lossWait)
	defer cancel()
	now, err := l.store.Timeline(ctx)
	if err != nil {
		return false, err
	}
	shorter := now.Server == l.server && now.Flushed < l.flushed && now.Flushed > 0
	l.server, l.flushed = now.Server, now.Flushed
	switch {
	case !now.Trusted:
		return false, l.notice(ctx, false, "another server answers than before", zap.String("server", now.Server))
	case shorter:
		return false, l.notice(ctx, true, "its log is shorter than before")
	}
	missing, err := l.missing(ctx)
	if err != nil || missing == 0 {
		return err == nil, err
	}
	return false, l.notice(ctx, true, "it lacks outcomes that were recorded", zap.Int("outcomes", missing))
}

func (l *losses) notice(ctx context.Context, certain bool, why string, fields ...zap.Field) error {
	first, err := l.store.ReportCommitsLost(ctx, certain)
	if first {
		l.log.Warn("Postgres has lost commits, or may have: "+why+". Nothing is emitted until events are read again", fields...)
	}
	return err
}

// missing counts outcomes that were acknowledged and are not in Postgres.
func (l *losses) missing(ctx context.Context) (int, error) {
	recorder, err := l.js.Consumer(ctx, l.topology.EventsStream(), events.RecorderConsumer)
	if err != nil {
		return 0, fmt.Errorf("look up the recorder: %w", err)
	}
	acked := recorder.CachedInfo().AckFloor.Stream
	noted, err := l.store.RecorderProgress(ctx) // after that: it was committed before the acknowledgement
	if err != nil {
		return 0, err
	}
	stream, err := l.js.Stream(ctx, l.topology.EventsStream()) // after that, once more
	if err != nil {
		return 0, fmt.Errorf("look up events: %w", err)
	}
	last := stream.CachedInfo().State.LastSeq
	if acked > last {
		return 0, nil // the stream lost its end; the aligner sees to it
	}
	switch {
	case noted.LastSequence == 0 || noted.LastSequence > last: // nothing was noted before, or the stream lost its end
		err = l.store.ResetRecorderProgress(ctx, acked)
	case acked > noted.LastSequence:
		var missing int
		if missing, err = l.unrecorded(ctx, noted.LastSequence+1, acked); err != nil || missing > 0 {
			return missing, err
		}
		// It was recorded by a release that notes nothing, or nothing was to be
		// recorded.
		err = l.store.AddRecorderProgress(ctx, acked)
	}
	if err != nil {
		return 0, err
	}
	l.progress.acked.Store(acked)
	l.progress.known.Store(true)
	return 0, nil
}

// errRead ends the reading of events.
var errRead = errors.New("enough was read")

// unrecorded looks through events for outcomes that Postgres does not have. It
// ends with the first of them.
func (l *losses) unrecorded(ctx context.Context, from, to uint64) (missing int, err error) {
	err = l.topology.ReadEvents(ctx, l.js, outcomeKinds(), from, func(batch []jetstream.Msg) error {
		outcomes, last := outcomesIn(batch, to)
		if len(outcomes) > 0 {
			n, err := l.store.CountUnrecorded(ctx, outcomes)
			if err != nil {
				return err
			}
			missing += n
		}
		if missing > 0 || last >= to {
			return errRead
		}
		return nil
	})
	if errors.Is(err, errRead) {
		err = nil
	}
	return missing, err
}

// outcomeKinds are the kinds of events that may tell of an outcome.
func outcomeKinds() []message.EventType {
	return []message.EventType{message.EventAttempted, message.EventSent, message.EventFailed, message.EventExpired}
}

// outcomesIn returns the outcomes that events up to a sequence tell, and the
// sequence of the last event. What can't be read was left out by the recorder.
func outcomesIn(batch []jetstream.Msg, to uint64) (outcomes []db.Outcome, last uint64) {
	for _, msg := range batch {
		meta, err := msg.Metadata()
		if err != nil {
			continue
		}
		last = meta.Sequence.Stream
		if last > to || msg.Headers().Get(events.HeaderOutcome) == "" {
			continue
		}
		if outcome, err := outcomeOf(msg.Data()); err == nil {
			outcomes = append(outcomes, outcome)
		}
	}
	return outcomes, last
}
