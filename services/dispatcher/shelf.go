package dispatcher

import (
	"slices"
	"sync"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// shelf holds what a sweep found lost until a tick has claimed it, or it is
// too old to be believed. It is safe for concurrent use.
type shelf struct {
	life time.Duration

	mu    sync.Mutex
	lost  []db.ExpiredLease
	until time.Time // of the oldest
}

// put replaces what is there.
func (s *shelf) put(lost []db.ExpiredLease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost, s.until = lost, time.Now().Add(s.life)
}

// add puts more behind what is there, and returns how many there are.
func (s *shelf) add(lost []db.ExpiredLease) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = slices.Concat(s.lost, lost)
	return len(s.lost)
}

// take returns the first n. They stay: should the tick not happen, the next
// one takes them.
func (s *shelf) take(n int) []db.ExpiredLease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().After(s.until) {
		return nil
	}
	return s.lost[:min(n, len(s.lost))]
}

// remove removes what a tick took and claimed. What it could not claim, none
// at all, is no longer lost.
func (s *shelf) remove(taken []db.ExpiredLease, claimed []message.Message) {
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
