package sender

import (
	"context"
	"sync"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/service"
)

// outageGrace is how long an outage may last before health tells of it: a
// reconnect, or a new leader, takes a moment.
const outageGrace = 3 * time.Second

// outage says whether something that the sender needs is away. Several may
// notice it at once; it is over when each of them has seen it back.
type outage struct {
	mu    sync.Mutex
	seen  int
	began time.Time
	ended chan struct{} // closed when seen falls to 0
}

// begin notes an outage and reports whether it is a new one.
func (o *outage) begin() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen++
	if o.seen == 1 {
		o.ended, o.began = make(chan struct{}), time.Now()
		return true
	}
	return false
}

// end undoes one begin and reports whether the outage is over.
func (o *outage) end() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen--
	if o.seen == 0 {
		close(o.ended)
		return true
	}
	return false
}

// status is what health shows of an outage, in these words.
func (o *outage) status(words string) service.Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen > 0 && time.Since(o.began) >= outageGrace {
		return service.Down(words)
	}
	return service.OK()
}

// wait returns once there is no outage; false when ctx ends first.
func (o *outage) wait(ctx context.Context) bool {
	for ctx.Err() == nil {
		o.mu.Lock()
		seen, ended := o.seen, o.ended
		o.mu.Unlock()
		if seen == 0 {
			return true
		}
		select {
		case <-ended:
		case <-ctx.Done():
		}
	}
	return false
}
