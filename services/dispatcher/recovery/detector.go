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
	// compareEvery is how often Postgres is compared with EVENTS.
	compareEvery = time.Second
	// compareTimeout bounds a comparison.
	compareTimeout = 10 * time.Second
)

// LossDetector notices that Postgres has lost commits. There are three signs:
// the server has another timeline, its log is shorter than before, or it lacks
// outcomes that the recorder has acknowledged.
type LossDetector struct {
	component.Base
	repairer *Repairer
	verified *recorder.VerifiedProgress
	failures *service.FailureTracker

	ready   chan struct{} // closed after the first comparison that found no loss
	opened  bool
	lost    atomic.Bool // what the last comparison found
	server  string      // at the last comparison
	flushed int64       // the end of the server's log, at the last comparison
}

// NewLossDetector returns a LossDetector that lets repairer repair what it
// finds, and tells the recorder what it has verified.
func NewLossDetector(base component.Base, verified *recorder.VerifiedProgress, repairer *Repairer) *LossDetector {
	d := &LossDetector{
		Base: base, repairer: repairer, verified: verified, ready: make(chan struct{}),
		failures: base.Track("loss detector", service.StateDegraded, "comparing Postgres with events"),
	}
	base.Health.Add("commits", service.StateDown, d.status)
	return d
}

// Run compares until ctx ends, and repairs what it finds.
func (d *LossDetector) Run(ctx context.Context) error {
	return d.LoopConnected(ctx, service.Loop{Every: compareEvery, Immediately: true, Failures: d.failures}, d.round)
}

// WhenReady returns a function that waits for the first comparison without a
// loss, or for the end of the repair, and then calls run.
func (d *LossDetector) WhenReady(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-d.ready:
			return run(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// status is the health check.
func (d *LossDetector) status(context.Context) service.Status {
	if d.lost.Load() {
		return service.Down("Postgres has lost commits, or another server took over; reading events again")
	}
	return service.OK()
}

func (d *LossDetector) round(ctx context.Context) error {
	complete, err := d.compare(ctx)
	if err != nil {
		return err
	}
	d.lost.Store(!complete)
	if !complete {
		return d.repairer.repair(ctx)
	}
	if !d.opened {
		d.opened = true
		close(d.ready)
	}
	return nil
}

// compare says whether Postgres has all commits, as far as JetStream knows.
func (d *LossDetector) compare(ctx context.Context) (complete bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	now, err := d.Store.Timeline(ctx)
	if err != nil {
		return false, err
	}
	shorter := now.Server == d.server && now.Flushed < d.flushed && now.Flushed > 0
	d.server, d.flushed = now.Server, now.Flushed
	switch {
	case !now.Trusted:
		return false, d.report(ctx, false, "another server answers than before", zap.String("server", now.Server))
	case shorter:
		return false, d.report(ctx, true, "its log is shorter than before")
	}
	missing, err := d.missing(ctx)
	if err != nil || missing == 0 {
		return err == nil, err
	}
	return false, d.report(ctx, true, "it lacks outcomes that were recorded", zap.Int("outcomes", missing))
}

// report stores in Postgres that commits are lost, which stops all emissions.
func (d *LossDetector) report(ctx context.Context, certain bool, why string, fields ...zap.Field) error {
	first, err := d.Store.ReportCommitsLost(ctx, certain)
	if first {
		d.Log.Warn("Postgres has lost commits, or may have: "+why+". Nothing is emitted until events are read again", fields...)
	}
	return err
}

// missing counts acknowledged outcomes that are not in Postgres. The order of
// its steps matters: each later step may know more than the earlier ones.
func (d *LossDetector) missing(ctx context.Context) (int, error) {
	consumer, err := d.JS.Consumer(ctx, d.JS.EventsStream(), events.RecorderConsumer)
	if err != nil {
		return 0, fmt.Errorf("look up the recorder: %w", err)
	}
	acked := consumer.CachedInfo().AckFloor.Stream
	stored, err := d.Store.RecorderProgress(ctx) // committed before the acknowledgement
	if err != nil {
		return 0, err
	}
	stream, err := d.JS.Stream(ctx, d.JS.EventsStream())
	if err != nil {
		return 0, fmt.Errorf("look up events: %w", err)
	}
	last := stream.CachedInfo().State.LastSeq
	if acked > last {
		return 0, nil // the stream has lost its end, which the consumer repair handles
	}
	switch {
	case stored.LastSequence == 0 || stored.LastSequence > last: // nothing was stored, or the stream has lost its end
		err = d.Store.ResetRecorderProgress(ctx, acked)
	case acked > stored.LastSequence:
		var missing int
		if missing, err = d.unrecorded(ctx, stored.LastSequence+1, acked); err != nil || missing > 0 {
			return missing, err
		}
		// A recorder of an older release stored no progress, or there were no
		// outcomes.
		err = d.Store.AddRecorderProgress(ctx, acked)
	}
	if err != nil {
		return 0, err
	}
	d.verified.Set(acked)
	return 0, nil
}

// errStopReading ends the reading of events.
var errStopReading = errors.New("stop reading")

// unrecorded counts outcomes in events that Postgres does not have. It stops
// after the first batch with one.
func (d *LossDetector) unrecorded(ctx context.Context, from, to uint64) (missing int, err error) {
	err = streams.ReadEvents(ctx, d.JS, recorder.OutcomeKinds(), from, func(batch []natsjs.Msg) error {
		outcomes, last := recorder.Outcomes(batch, to)
		if len(outcomes) > 0 {
			n, err := d.Store.CountUnrecorded(ctx, outcomes)
			if err != nil {
				return err
			}
			missing += n
		}
		if missing > 0 || last >= to {
			return errStopReading
		}
		return nil
	})
	if errors.Is(err, errStopReading) {
		err = nil
	}
	return missing, err
}
