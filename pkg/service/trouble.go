package service

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// troubleEvery is the time between two lines about the same trouble.
	troubleEvery = 10 * time.Second
	// troubleGrace is for how long something must have failed before health
	// tells of it: a reconnect, or a new leader, takes a moment.
	troubleGrace = 3 * time.Second
	// troubleMemory is how long the last failure counts when nothing was tried
	// since, unless Forgets says otherwise.
	troubleMemory = time.Minute
)

// Trouble is what a component that goes on trying tells of its failures: the
// log when it begins, every 10 s while it lasts, and when it is over; health,
// and so the metrics, once it has lasted for 3 s. It is safe for concurrent use.
type Trouble struct {
	log    *zap.Logger
	what   string // what does not work, such as "tick"
	memory time.Duration

	mu     sync.Mutex
	began  time.Time
	last   time.Time
	logged time.Time
}

// NewTrouble returns one that has seen no failure. what is the subject of a
// sentence that goes on with "does not work".
func NewTrouble(log *zap.Logger, what string) *Trouble {
	return &Trouble{log: log, what: what, memory: troubleMemory}
}

// Forgets sets for how long the last failure counts when nothing was tried
// since: short for a component that tries only what it is asked to, and is not
// asked while it seems not to work. It is for the start.
func (t *Trouble) Forgets(after time.Duration) *Trouble {
	t.memory = after
	return t
}

// Is takes the result of a try.
func (t *Trouble) Is(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil && t.began.IsZero():
	case err == nil:
		t.log.Info(t.what+" works again", zap.Duration("after", now.Sub(t.began).Round(time.Millisecond)))
		t.began, t.logged = time.Time{}, time.Time{}
	default:
		t.last = now
		if t.began.IsZero() {
			t.began = now
		}
		if now.Sub(t.logged) >= troubleEvery {
			t.logged = now
			t.log.Warn(t.what+" does not work", zap.String("error", Redact(err.Error())))
		}
	}
}

// Status is StateDown while the trouble lasts; Health.Add says how much of
// that counts.
func (t *Trouble) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.began.IsZero() || t.last.Sub(t.began) < troubleGrace || time.Since(t.last) > t.memory {
		return OK()
	}
	return Down("has not worked for " + time.Since(t.began).Round(time.Second).String() + "; the log says why")
}

// Watch shows the trouble under a name. worst is the most that it can do to
// the service.
func (h *Health) Watch(name string, worst State, t *Trouble) {
	h.Add(name, worst, func(context.Context) Status { return t.Status() })
}
