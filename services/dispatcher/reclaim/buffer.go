package reclaim

import (
	"slices"
	"sync"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Buffer holds what a sweep found lost until a tick has claimed it, or it is
// too old to be believed. It is safe for concurrent use.
type Buffer struct {
	life time.Duration

	mu    sync.Mutex
	lost  []db.ExpiredLease
	until time.Time // of the oldest
}

// NewBuffer returns an empty one, for leases of a length.
func NewBuffer(lease time.Duration) *Buffer { return &Buffer{life: 2 * sweepPeriod(lease)} }

// put replaces what is there.
func (s *Buffer) put(lost []db.ExpiredLease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost, s.until = lost, time.Now().Add(s.life)
}

// add puts more behind what is there, and returns how many there are.
func (s *Buffer) add(lost []db.ExpiredLease) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = slices.Concat(s.lost, lost)
	return len(s.lost)
}

// Take returns the first n. They stay: should the tick not happen, the next
// one takes them.
func (s *Buffer) Take(n int) []db.ExpiredLease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().After(s.until) {
		return nil
	}
	return s.lost[:min(n, len(s.lost))]
}

// Remove removes what a tick took and claimed. What it could not claim, none
// at all, is no longer lost.
func (s *Buffer) Remove(taken []db.ExpiredLease, claimed []message.Message) {
	if len(taken) == 0 {
		return
	}
	gone := make(map[message.ID]bool, len(taken))
	for _, m := range claimed {
		gone[m.ID] = true
	}
	if len(claimed) == 0 {
		for _, l := range taken {
			gone[l.ID] = true
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = slices.DeleteFunc(slices.Clone(s.lost), func(l db.ExpiredLease) bool { return gone[l.ID] })
}
