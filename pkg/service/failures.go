package service

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/redact"
)

const (
	// failureLogEvery is the time between two log lines about the same failure.
	failureLogEvery = 10 * time.Second
	// failureGrace is how long something must have failed before health shows
	// it. A reconnect, or a new leader, takes a moment.
	failureGrace = 3 * time.Second
	// failureMemory is how long the last failure counts if nothing was tried
	// since, unless ForgetAfter says otherwise.
	failureMemory = time.Minute
)

// FailureTracker reports the failures of a component that keeps trying. The log
// shows when they begin, every 10 s while they last, and when they are over.
// Health, and so the metrics, shows them once they have lasted for 3 s. It is
// safe for concurrent use.
type FailureTracker struct {
	log    *zap.Logger
	what   string // what does not work, such as "tick"
	memory time.Duration

	mu           sync.Mutex
	firstFailure time.Time
	lastFailure  time.Time
	logged       time.Time
}

// NewFailureTracker returns a tracker that has seen no failure. what is the
// subject of a sentence that continues with "does not work".
func NewFailureTracker(log *zap.Logger, what string) *FailureTracker {
	return &FailureTracker{log: log, what: what, memory: failureMemory}
}

// ForgetAfter sets how long the last failure counts if nothing was tried since.
// It should be short for a component that is only asked to try while it seems
// to work. Call it before the tracker is used.
func (t *FailureTracker) ForgetAfter(after time.Duration) *FailureTracker {
	t.memory = after
	return t
}

// Report takes the result of one try; nil is a success.
func (t *FailureTracker) Report(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil && t.firstFailure.IsZero():
	case err == nil:
		t.log.Info(t.what+" works again", zap.Duration("after", now.Sub(t.firstFailure).Round(time.Millisecond)))
		t.firstFailure, t.logged = time.Time{}, time.Time{}
	default:
		t.lastFailure = now
		if t.firstFailure.IsZero() {
			t.firstFailure = now
		}
		if now.Sub(t.logged) >= failureLogEvery {
			t.logged = now
			t.log.Warn(t.what+" does not work", zap.String("error", redact.Text(err.Error())))
		}
	}
}

// Status is StateDown while the failures last. Health.Add limits what that does
// to the service.
func (t *FailureTracker) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.firstFailure.IsZero() || t.lastFailure.Sub(t.firstFailure) < failureGrace || time.Since(t.lastFailure) > t.memory {
		return OK()
	}
	return Down("has not worked for " + time.Since(t.firstFailure).Round(time.Second).String() + "; the log says why")
}

// Watch shows a tracker under a name. worst is the worst state that it can put
// the service into.
func (h *Health) Watch(name string, worst State, t *FailureTracker) {
	h.Add(name, worst, func(context.Context) Status { return t.Status() })
}
