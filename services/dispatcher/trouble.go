package dispatcher

import (
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/service"
)

// troubleEvery is the time between two lines about the same trouble.
const troubleEvery = 10 * time.Second

// trouble tells the log that something keeps failing, without flooding it:
// when it begins, every 10 s while it lasts, and when it is over. It is safe
// for concurrent use.
type trouble struct {
	log  *zap.Logger
	what string // what does not work, such as "tick"

	mu     sync.Mutex
	began  time.Time
	logged time.Time
}

func newTrouble(log *zap.Logger, what string) *trouble {
	return &trouble{log: log, what: what}
}

// is takes the result of a try.
func (t *trouble) is(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil && t.began.IsZero():
	case err == nil:
		t.log.Info(t.what+" works again", zap.Duration("after", now.Sub(t.began).Round(time.Millisecond)))
		t.began, t.logged = time.Time{}, time.Time{}
	default:
		if t.began.IsZero() {
			t.began = now
		}
		if now.Sub(t.logged) >= troubleEvery {
			t.logged = now
			t.log.Warn(t.what+" does not work", zap.String("error", service.Redact(err.Error())))
		}
	}
}

// jitter returns a duration between d/2 and d, so that several dispatchers
// don't do everything at the same moment.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}
