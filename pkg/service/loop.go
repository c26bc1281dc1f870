package service

import (
	"context"
	"math/rand/v2"
	"time"
)

// Loop repeats periodic work until its context ends. Every periodic task of a
// service uses it. The zero value repeats without a pause. A Loop is immutable
// while it runs.
type Loop struct {
	// Every is the time from the end of one turn to the start of the next. Jitter
	// shortens it by up to half, so that several instances don't all work at the
	// same moment.
	Every time.Duration
	// Immediately starts the first turn without waiting for Every.
	Immediately bool
	// Failures gets the result of every turn that ctx did not interrupt. Nil: the
	// turn reports its own failures.
	Failures *FailureTracker
}

// Run calls turn until ctx ends, then returns nil. A failed turn does not end the
// loop.
func (l Loop) Run(ctx context.Context, turn func(ctx context.Context) error) error {
	return l.RunPaced(ctx, func(ctx context.Context) (time.Duration, error) {
		return l.Every, turn(ctx)
	})
}

// RunPaced is Run for a turn that returns how long to wait before the next one. The
// wait has the same jitter as Every.
func (l Loop) RunPaced(ctx context.Context, turn func(ctx context.Context) (next time.Duration, err error)) error {
	if !l.Immediately && !Sleep(ctx, Jitter(l.Every)) {
		return nil
	}
	for ctx.Err() == nil {
		next, err := turn(ctx)
		if l.Failures != nil && ctx.Err() == nil {
			l.Failures.Report(err)
		}
		if !Sleep(ctx, Jitter(next)) {
			return nil
		}
	}
	return nil
}

// Sleep waits for d. It returns false as soon as ctx ends.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Jitter returns a random duration between d/2 and d.
func Jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}
