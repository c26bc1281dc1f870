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
	// failureGrace is how long failures must last before health shows them. A
	// reconnect or a new leader takes a moment.
	failureGrace = 3 * time.Second
	// failureMemory is how long the last failure counts when nothing was tried
	// since. ForgetAfter overrides it.
	failureMemory = time.Minute
)

// FailureTracker reports the failures of a component that keeps trying. It logs
// the first failure, then one line every 10 s while failures last, and one line
// when the component works again. Health and its metrics show the failure once it
// has lasted 3 s. It is safe for concurrent use.
type FailureTracker struct {
	log    *zap.Logger
	what   string // what does not work, such as "tick"
	memory time.Duration

	mu           sync.Mutex
	firstFailure time.Time
	lastFailure  time.Time
	lastLogged   time.Time
}

// NewFailureTracker returns a tracker without failures. The log line is what
// followed by "does not work".
func NewFailureTracker(log *zap.Logger, what string) *FailureTracker {
	return &FailureTracker{log: log, what: what, memory: failureMemory}
}

// ForgetAfter sets how long the last failure counts when nothing was tried since.
// Use a short time for a component that is only tried while it seems to work. Call
// it before the tracker is used.
func (t *FailureTracker) ForgetAfter(after time.Duration) *FailureTracker {
	t.memory = after
	return t
}

// Report records the result of one try. A nil error is a success.
func (t *FailureTracker) Report(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil && t.firstFailure.IsZero():
	case err == nil:
		t.log.Info(t.what+" works again", zap.Duration("after", now.Sub(t.firstFailure).Round(time.Millisecond)))
		t.firstFailure, t.lastLogged = time.Time{}, time.Time{}
	default:
		t.lastFailure = now
		if t.firstFailure.IsZero() {
			t.firstFailure = now
		}
		if now.Sub(t.lastLogged) >= failureLogEvery {
			t.lastLogged = now
			t.log.Warn(t.what+" does not work", zap.String("error", redact.Text(err.Error())))
		}
	}
}

// Status returns StateDown while failures last. Health.Add limits how far this
// lowers the state of the service.
func (t *FailureTracker) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.firstFailure.IsZero() || t.lastFailure.Sub(t.firstFailure) < failureGrace || time.Since(t.lastFailure) > t.memory {
		return OK()
	}
	return Down("has not worked for " + time.Since(t.firstFailure).Round(time.Second).String() + "; the log says why")
}

// Watch adds the tracker as a health check. worst is the worst state that it can
// give the service.
func (h *Health) Watch(name string, worst State, t *FailureTracker) {
	h.Add(name, worst, func(context.Context) Status { return t.Status() })
}
