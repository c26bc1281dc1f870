package backpressure

import (
	"context"
	"sync"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/service"
)

// outageGrace is how long an outage may last before health shows it: a
// reconnect, or a new leader, takes a moment.
const outageGrace = 3 * time.Second

// Outage says whether something that the sender needs is away. Several workers
// may notice it at once; it is over when each of them has seen it back. The
// zero value is no outage. It is safe for concurrent use.
type Outage struct {
	mu       sync.Mutex
	noticing int // workers
	began    time.Time
	ended    chan struct{} // closed when noticing falls to 0
}

// Begin notes that a worker has noticed an outage. It returns true for the
// first one.
func (o *Outage) Begin() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.noticing++
	if o.noticing == 1 {
		o.ended, o.began = make(chan struct{}), time.Now()
		return true
	}
	return false
}

// End undoes one Begin. It returns true if the outage is over.
func (o *Outage) End() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.noticing--
	if o.noticing == 0 {
		close(o.ended)
		return true
	}
	return false
}

// Status is what health shows of an outage, in these words.
func (o *Outage) Status(words string) service.Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.noticing > 0 && time.Since(o.began) >= outageGrace {
		return service.Down(words)
	}
	return service.OK()
}

// Wait returns true once there is no outage, and false if ctx ends first.
func (o *Outage) Wait(ctx context.Context) bool {
	for ctx.Err() == nil {
		o.mu.Lock()
		noticing, ended := o.noticing, o.ended
		o.mu.Unlock()
		if noticing == 0 {
			return true
		}
		select {
		case <-ended:
		case <-ctx.Done():
		}
	}
	return false
}
