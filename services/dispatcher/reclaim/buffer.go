package reclaim

import (
	"slices"
	"sync"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Buffer holds the lost messages that a sweep has found, until a tick claims
// them or the finding is too old. It is safe for concurrent use.
type Buffer struct {
	lifetime time.Duration

	mu         sync.Mutex
	lost       []db.ExpiredLease
	validUntil time.Time
}

// NewBuffer returns an empty Buffer. A finding is valid for two sweeps, whose
// period follows from the lease.
func NewBuffer(lease time.Duration) *Buffer {
	return &Buffer{lifetime: 2 * sweepPeriod(lease)}
}

// reset empties the buffer for a new sweep.
func (b *Buffer) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost, b.validUntil = nil, time.Now().Add(b.lifetime)
}

// add appends lost messages.
func (b *Buffer) add(lost []db.ExpiredLease) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = slices.Concat(b.lost, lost)
}

func (b *Buffer) size() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.lost)
}

// Peek returns up to n lost messages. They stay in the buffer, because the tick
// may fail; then the next tick takes them.
func (b *Buffer) Peek(n int) []db.ExpiredLease {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Now().After(b.validUntil) {
		return nil
	}
	return b.lost[:min(n, len(b.lost))]
}

// Remove removes those of the peeked messages that a tick has claimed. If it
// claimed none, it removes them all: they are no longer lost.
func (b *Buffer) Remove(peeked []db.ExpiredLease, claimed []message.Message) {
	if len(peeked) == 0 {
		return
	}
	gone := make(map[message.ID]bool, len(peeked))
	for _, m := range claimed {
		gone[m.ID] = true
	}
	if len(claimed) == 0 {
		for _, l := range peeked {
			gone[l.ID] = true
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = slices.DeleteFunc(slices.Clone(b.lost), func(l db.ExpiredLease) bool { return gone[l.ID] })
}
