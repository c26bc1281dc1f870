package dispatcher

import (
	"sync"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
)

// shelf holds what a sweep found lost until the next tick takes it, or it is
// too old to be believed. It is safe for concurrent use.
type shelf struct {
	life time.Duration

	mu    sync.Mutex
	lost  []db.Lost
	until time.Time
}

// put replaces what is there.
func (s *shelf) put(lost []db.Lost) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost, s.until = lost, time.Now().Add(s.life)
}

// take returns what is there. It stays: what a tick claims anew gets a new
// claim number, by which a second take is known to be void.
func (s *shelf) take() []db.Lost {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().After(s.until) {
		return nil
	}
	return s.lost
}
