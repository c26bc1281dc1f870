package backpressure

import (
	"sync"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	// LocalPause is after what time a message comes again for which this machine
	// had no connection. The worker that tried it waits as long.
	LocalPause = time.Second
	// LocalLimit is how long such a message is tried without an attempt that
	// counts. Other senders may get it all the while. Then it counts, so that the
	// message comes to an end.
	LocalLimit = 5 * time.Minute
)

// LocalFailures remembers since when messages have been tried for which this
// machine has no connection. The zero value is empty. It is safe for
// concurrent use.
type LocalFailures struct {
	mu     sync.Mutex
	since  map[message.ID]time.Time
	pruned time.Time
}

// TooLong notes that a message could not be tried. It returns true, and forgets
// the message, if that has been so for LocalLimit.
func (f *LocalFailures) TooLong(id message.ID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.prune(now)
	began, known := f.since[id]
	if !known {
		f.since[id] = now
		return false
	}
	if now.Sub(began) < LocalLimit {
		return false
	}
	delete(f.since, id)
	return true
}

// prune forgets from time to time what other senders have sent meanwhile.
func (f *LocalFailures) prune(now time.Time) {
	if f.since == nil {
		f.since, f.pruned = map[message.ID]time.Time{}, now
	}
	if now.Sub(f.pruned) < LocalLimit {
		return
	}
	f.pruned = now
	for id, began := range f.since {
		if now.Sub(began) > 4*LocalLimit {
			delete(f.since, id)
		}
	}
}

// Forget forgets a message that was tried.
func (f *LocalFailures) Forget(id message.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.since, id)
}
