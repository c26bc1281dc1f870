package sender

import (
	"context"
	"sync"
	"time"
)

const (
	// shortWait is up to how long a message may wait as a delayed nak. A longer
	// wait, and one that finds no nak left, is a schedule: it costs two more
	// publishes, and takes none of the deliveries that the senders may have
	// unacknowledged together.
	shortWait = 10 * time.Second
	// maxNaks bounds what one sender has waiting so.
	maxNaks = 1000
	// maxUnacked is up to how many deliveries of all senders, waiting or in
	// hand, naks are left at all: half of what the server hands out, so that
	// fresh messages always find room.
	maxUnacked = 10_000
	// nakGrant is how many naks one look at the server allows. It is what each
	// sender may be beyond maxUnacked.
	nakGrant = 50
	// nakLook is how often the server is asked at the most, and nakPause how
	// often at the least.
	nakLook  = 20 * time.Millisecond
	nakPause = 5 * time.Second
)

// nakBudget decides which waits may be delayed naks. No sender knows of the
// others, but the server knows of all: each asks how many deliveries are
// unacknowledged, and takes a few at a time. It is safe for concurrent use.
type nakBudget struct {
	// unacked asks the server how many deliveries of all senders are not
	// acknowledged.
	unacked func(context.Context) (int, error)

	mu      sync.Mutex
	granted int // naks that the last look left
	waiting int // naks of this sender that are not due yet
	used    chan struct{}
}

func newNakBudget(unacked func(context.Context) (int, error)) *nakBudget {
	return &nakBudget{unacked: unacked, used: make(chan struct{}, 1)}
}

// take says whether a wait may be a delayed nak, and counts it until it is
// due.
func (b *nakBudget) take(wait time.Duration) bool {
	if wait > shortWait {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.granted <= nakGrant/2 {
		select {
		case b.used <- struct{}{}:
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

// look asks the server once. What can't be asked leaves none.
func (b *nakBudget) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, timeWait)
	defer cancel()
	unacked, err := b.unacked(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.granted = 0
	if err == nil && unacked < maxUnacked {
		b.granted = nakGrant
	}
}

// run looks again whenever little is left, until ctx ends.
func (b *nakBudget) run(ctx context.Context) {
	for pause(ctx, nakLook) {
		select {
		case <-b.used:
		case <-time.After(nakPause):
		case <-ctx.Done():
			return
		}
		b.look(ctx)
	}
}
