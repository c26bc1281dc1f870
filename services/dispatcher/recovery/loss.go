package recovery

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
	"github.com/message-dispatcher/dispatch/services/dispatcher/recorder"
)

const (
	// lossEvery is how often Postgres is compared with EVENTS.
	lossEvery = time.Second
	// lossWait bounds a comparison.
	lossWait = 10 * time.Second
)

// LossWatcher notices that Postgres has lost commits: it was put back, or another
// server took over that had not received them. Then JetStream knows more than
// Postgres. It shows by the server's timeline, by its log, which never gets
// shorter, and by outcomes that the recorder has acknowledged and Postgres
// does not have.
type LossWatcher struct {
	component.Base
	repair   *Repairer
	progress *recorder.Progress
	trouble  *service.FailureTracker

	ready   chan struct{} // closed after the first comparison that found no loss
	opened  bool
	lossy   atomic.Bool // what the last comparison found
	server  string      // at the last comparison
	flushed int64
}

// NewLossWatcher returns one that has compared nothing yet.
func NewLossWatcher(base component.Base, progress *recorder.Progress, repair *Repairer) *LossWatcher {
	l := &LossWatcher{
		Base: base, repair: repair, progress: progress, ready: make(chan struct{}),
		trouble: base.Watch("comparison", service.StateDegraded, "comparing Postgres with events"),
	}
	base.Health.Add("commits", service.StateDown, l.status)
	return l
}

// Run compares until ctx ends, and repairs what it finds.
func (l *LossWatcher) Run(ctx context.Context) error {
	for {
		if l.JS.Conn().IsConnected() {
			err := l.round(ctx)
			if ctx.Err() == nil {
				l.trouble.Report(err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(component.Jitter(lossEvery)):
		}
	}
}

// WhenReady starts a component once it is known that Postgres has lost nothing,
// or that is repaired.
func (l *LossWatcher) WhenReady(run func(context.Context) error) func(context.Context) error {
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
func (l *LossWatcher) status(context.Context) service.Status {
	if l.lossy.Load() {
		return service.Down("Postgres has lost commits, or another server took over; reading events again")
	}
	return service.OK()
}

func (l *LossWatcher) round(ctx context.Context) error {
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
func (l *LossWatcher) compare(ctx context.Context) (trusted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lossWait)
	defer cancel()
	now, err := l.Store.Timeline(ctx)
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

func (l *LossWatcher) notice(ctx context.Context, certain bool, why string, fields ...zap.Field) error {
	first, err := l.Store.ReportCommitsLost(ctx, certain)
	if first {
		l.Log.Warn("Postgres has lost commits, or may have: "+why+". Nothing is emitted until events are read again", fields...)
	}
	return err
}

// missing counts outcomes that were acknowledged and are not in Postgres.
func (l *LossWatcher) missing(ctx context.Context) (int, error) {
	recorder, err := l.JS.Consumer(ctx, l.Topology.EventsStream(), events.RecorderConsumer)
	if err != nil {
		return 0, fmt.Errorf("look up the recorder: %w", err)
	}
	acked := recorder.CachedInfo().AckFloor.Stream
	noted, err := l.Store.RecorderProgress(ctx) // after that: it was committed before the acknowledgement
	if err != nil {
		return 0, err
	}
	stream, err := l.JS.Stream(ctx, l.Topology.EventsStream()) // after that, once more
	if err != nil {
		return 0, fmt.Errorf("look up events: %w", err)
	}
	last := stream.CachedInfo().State.LastSeq
	if acked > last {
		return 0, nil // the stream lost its end; the aligner sees to it
	}
	switch {
	case noted.LastSequence == 0 || noted.LastSequence > last: // nothing was noted before, or the stream lost its end
		err = l.Store.ResetRecorderProgress(ctx, acked)
	case acked > noted.LastSequence:
		var missing int
		if missing, err = l.unrecorded(ctx, noted.LastSequence+1, acked); err != nil || missing > 0 {
			return missing, err
		}
		// It was recorded by a release that notes nothing, or nothing was to be
		// recorded.
		err = l.Store.AddRecorderProgress(ctx, acked)
	}
	if err != nil {
		return 0, err
	}
	l.progress.Set(acked)
	return 0, nil
}

// errRead ends the reading of events.
var errRead = errors.New("enough was read")

// unrecorded looks through events for outcomes that Postgres does not have. It
// ends with the first of them.
func (l *LossWatcher) unrecorded(ctx context.Context, from, to uint64) (missing int, err error) {
	err = streams.ReadEvents(ctx, l.JS, recorder.OutcomeKinds(), from, func(batch []natsjs.Msg) error {
		outcomes, last := recorder.Outcomes(batch, to)
		if len(outcomes) > 0 {
			n, err := l.Store.CountUnrecorded(ctx, outcomes)
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
