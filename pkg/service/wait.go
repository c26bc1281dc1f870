package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"
)

const (
	waitTry      = 5 * time.Second  // one try may take this long
	waitPause    = 2 * time.Second  // the longest pause between two tries
	waitLogEvery = 10 * time.Second // between two lines about the same wait
)

// WaitFor calls check until it returns nil: after a first failure every 100 ms,
// then more rarely, every 2 s in the end. It logs the first failure, one line
// about every 10 s after it, and the success if there was a failure. Each try
// gets 5 s. An error made by backoff.Permanent ends the wait and is returned;
// so does the end of ctx, as an error that wraps ctx.Err() and names the last
// failure.
func WaitFor(ctx context.Context, log *zap.Logger, what string, check func(ctx context.Context) error) error {
	began := time.Now()
	var logged time.Time
	var last error
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = 100*time.Millisecond, waitPause

	try := func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(ctx, waitTry)
		defer cancel()
		return struct{}{}, check(ctx)
	}
	failed := func(err error, _ time.Duration) {
		last = err
		if logged.IsZero() || time.Since(logged) >= waitLogEvery {
			logged = time.Now()
			log.Warn("waiting for "+what,
				zap.String("error", Redact(err.Error())),
				zap.Duration("waited", time.Since(began).Round(time.Second)))
		}
	}
	_, err := backoff.Retry(ctx, try, backoff.WithBackOff(pauses), backoff.WithNotify(failed), backoff.WithMaxElapsedTime(0))
	switch {
	case err == nil:
		if last != nil {
			log.Info(what+" is there", zap.Duration("waited", time.Since(began).Round(time.Second)))
		}
		return nil
	case ctx.Err() == nil:
		return fmt.Errorf("wait for %s: %w", what, err)
	case last == nil || errors.Is(last, ctx.Err()):
		return fmt.Errorf("wait for %s: %w", what, ctx.Err())
	}
	return fmt.Errorf("wait for %s: %w (last failure: %s)", what, ctx.Err(), Redact(last.Error()))
}
