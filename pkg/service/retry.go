package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/redact"
)

// Retry repeats one piece of work until it succeeds. Every retry inside a service
// uses it. Retries of messages are separate: message.Backoff computes their delay.
// A Retry is immutable while it runs.
type Retry struct {
	// First is the pause after the first failure. Each further pause is twice as
	// long, up to Longest. All pauses have a jitter of one half.
	First, Longest time.Duration
	// Try is the time limit of each try. 0: only ctx limits it.
	Try time.Duration
	// FinishTry lets a running try finish after ctx has ended. Then only Try limits
	// it.
	FinishTry bool
	// Final reports whether an error is permanent. Nil: only errors made by
	// backoff.Permanent are.
	Final func(error) bool
	// Report is called with each failure that is followed by another try. May be
	// nil.
	Report func(error)
}

// Do calls try until it returns nil. It returns the last error if that error is
// final or if ctx ends. try is called at least once.
func (r Retry) Do(ctx context.Context, try func(ctx context.Context) error) error {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval, pauses.Multiplier = r.First, r.Longest, 2
	var last error
	once := func() (struct{}, error) {
		last = r.once(ctx, try)
		if last != nil && r.Final != nil && r.Final(last) {
			return struct{}{}, backoff.Permanent(last)
		}
		return struct{}{}, last
	}
	report := func(err error, _ time.Duration) {
		if r.Report != nil {
			r.Report(err)
		}
	}
	if _, err := backoff.Retry(ctx, once, backoff.WithBackOff(pauses), backoff.WithNotify(report), backoff.WithMaxElapsedTime(0)); err == nil {
		return nil
	}
	var permanent *backoff.PermanentError
	if errors.As(last, &permanent) {
		return permanent.Unwrap()
	}
	return last
}

func (r Retry) once(ctx context.Context, try func(ctx context.Context) error) error {
	if r.FinishTry {
		ctx = context.WithoutCancel(ctx)
	}
	if r.Try > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Try)
		defer cancel()
	}
	return try(ctx)
}

const (
	waitTry      = 5 * time.Second // time limit of one try
	waitFirst    = 100 * time.Millisecond
	waitLongest  = 2 * time.Second  // the longest pause between two tries
	waitLogEvery = 10 * time.Second // between two log lines about the same wait
)

// WaitFor calls check until it returns nil, first after 100 ms, then less often, at
// last every 2 s. Each try may take 5 s. It logs the first failure, then one line
// about every 10 s, and the success if a try has failed. An error made by
// backoff.Permanent ends the wait and is returned. If ctx ends, the error wraps
// ctx.Err() and names the last failure.
func WaitFor(ctx context.Context, log *zap.Logger, what string, check func(ctx context.Context) error) error {
	began := time.Now()
	var logged time.Time
	var last error
	retry := Retry{First: waitFirst, Longest: waitLongest, Try: waitTry, Report: func(err error) {
		last = err
		if logged.IsZero() || time.Since(logged) >= waitLogEvery {
			logged = time.Now()
			log.Warn("waiting for "+what,
				zap.String("error", redact.Text(err.Error())),
				zap.Duration("waited", time.Since(began).Round(time.Second)))
		}
	}}
	err := retry.Do(ctx, check)
	switch {
	case err == nil:
		if last != nil {
			log.Info(what+" is ready", zap.Duration("waited", time.Since(began).Round(time.Second)))
		}
		return nil
	case ctx.Err() == nil:
		return fmt.Errorf("wait for %s: %w", what, err)
	case last == nil || errors.Is(last, ctx.Err()):
		return fmt.Errorf("wait for %s: %w", what, ctx.Err())
	}
	return fmt.Errorf("wait for %s: %w (last failure: %s)", what, ctx.Err(), redact.Text(last.Error()))
}
