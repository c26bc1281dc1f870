package component

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// Time limits that several components share.
const (
	// PublishTimeout is how long the process that wrote an outbox row may
	// publish it.
	PublishTimeout = db.PublishDeadline
	// StoreTimeout bounds one call to Postgres, NATSTimeout one to NATS.
	StoreTimeout = 5 * time.Second
	NATSTimeout  = 2 * time.Second
	// RecordTimeout bounds the recording of one batch of outcomes,
	// RecorderTimeout a wait for the recorder.
	RecordTimeout   = 10 * time.Second
	RecorderTimeout = 10 * time.Second
)

// MaxQueued is how many ids of a destination may be on the work queue. In
// continuous mode there is no tick while there are more.
const MaxQueued = 10_000

// The pauses between two tries of Retry. Each is twice as long as the one
// before.
const (
	firstBackoff   = 50 * time.Millisecond
	longestBackoff = 2 * time.Second
)

// Retry calls try until it succeeds, until Postgres refuses the data, or until
// ctx ends. It returns the last error. The end of ctx does not interrupt a try
// that has begun; only timeout does. failures is told the result of each try.
func Retry(ctx context.Context, timeout time.Duration, failures *service.FailureTracker, try func(context.Context) error) error {
	retry := service.Retry{
		First: firstBackoff, Longest: longestBackoff, Try: timeout, FinishTry: true, Final: dbpool.BadData, Report: failures.Report,
	}
	err := retry.Do(ctx, try)
	if err == nil || dbpool.BadData(err) {
		failures.Report(nil)
	}
	return err
}

// AwaitRecorder returns when the recorder has recorded everything that EVENTS
// holds now. It fails after RecorderTimeout.
func (b Base) AwaitRecorder(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, RecorderTimeout)
	defer cancel()
	last, err := b.RecorderProgress.LastEvent(ctx)
	if err != nil {
		return err
	}
	return b.RecorderProgress.AwaitRecorded(ctx, last)
}

// LoopConnected is loop.Run for a turn that needs NATS. It skips the turn while
// the connection is down, because the health of NATS itself reports that.
func (b Base) LoopConnected(ctx context.Context, loop service.Loop, turn func(context.Context) error) error {
	failures := loop.Failures
	loop.Failures = nil
	return loop.Run(ctx, func(ctx context.Context) error {
		if !b.JS.Conn().IsConnected() {
			return nil
		}
		if err := turn(ctx); ctx.Err() == nil {
			failures.Report(err)
		}
		return nil
	})
}
