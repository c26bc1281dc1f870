package dispatcher

import (
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/service"
)

// trouble tells that something keeps failing.
type trouble struct{ *service.FailureTracker }

func newTrouble(log *zap.Logger, what string) *trouble {
	return &trouble{service.NewFailureTracker(log, what)}
}

// is takes the result of a try.
func (t *trouble) is(err error) { t.Report(err) }

// watched is the trouble of a component that health shows under the
// component's name. worst is what it does to the dispatcher.
func (p parts) watched(component string, worst service.State, what string) *trouble {
	t := newTrouble(p.log, what)
	p.health.Watch(component, worst, t.FailureTracker)
	return t
}

// jitter returns a duration between d/2 and d, so that several dispatchers
// don't do everything at the same moment.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}
