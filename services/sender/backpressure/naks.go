package backpressure

import (
	"context"
	"sync"
	"time"
)

const (
	// ShortWait is the longest wait that may be a delayed nak. A longer wait, and
	// one for which no nak is left, becomes a schedule: that costs two more
	// publishes, but none of the deliveries that the senders may have
	// unacknowledged together.
	ShortWait = 10 * time.Second
	// maxNaks is how many delayed naks of one sender may be waiting.
	maxNaks = 1000
	// maxUnacked is up to how many unacknowledged deliveries of all senders new
	// naks are allowed: half of what the server hands out, so that fresh messages
	// always find space.
	maxUnacked = 10_000
	// nakGrant is how many naks one question to the server allows. Each sender may
	// exceed maxUnacked by this much.
	nakGrant = 50

	minAskInterval = 20 * time.Millisecond
	maxAskInterval = 5 * time.Second
	askTimeout     = 2 * time.Second
)

// NakBudget decides which waits may be delayed naks. No sender knows about the
// others, but the server knows about all: each sender asks how many deliveries
// are unacknowledged, and gets a few naks at a time. It is safe for concurrent
// use.
type NakBudget struct {
	queue UnackedCounter

	mu      sync.Mutex
	granted int           // naks that the last question has left
	waiting int           // naks of this sender that are not due yet
	low     chan struct{} // signals that little is left
}

// UnackedCounter asks the server how many deliveries of all senders are not
// acknowledged. *deliveries.Queue implements it over NATS.
type UnackedCounter interface {
	Unacked(ctx context.Context) (int, error)
}

// NewNakBudget returns a budget without naks. Ask or Run get some.
func NewNakBudget(queue UnackedCounter) *NakBudget {
	return &NakBudget{queue: queue, low: make(chan struct{}, 1)}
}

// Take reports whether a wait may be a delayed nak, and counts it until it is
// due.
func (b *NakBudget) Take(wait time.Duration) bool {
	if wait > ShortWait {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.granted <= nakGrant/2 {
		select {
		case b.low <- struct{}{}:
		default:
		}
	}
	if b.granted == 0 || b.waiting == maxNaks {
		return false
	}
	b.granted--
	b.waiting++
	time.AfterFunc(wait, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.waiting--
	})
	return true
}

// Ask asks the server once. Without an answer no naks are left.
func (b *NakBudget) Ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	unacked, err := b.queue.Unacked(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.granted = 0
	if err == nil && unacked < maxUnacked {
		b.granted = nakGrant
	}
}

// Run asks again whenever little is left, until ctx ends.
func (b *NakBudget) Run(ctx context.Context) {
	for {
		select {
		case <-time.After(minAskInterval):
		case <-ctx.Done():
			return
		}
		select {
		case <-b.low:
		case <-time.After(maxAskInterval):
		case <-ctx.Done():
			return
		}
		b.Ask(ctx)
	}
}
