package erasure

import (
	"sync"
	"time"
)

const (
	maxProgress = 1000 // erasures whose progress is remembered
	progressAge = time.Hour
)

// progress is how far an erasure has searched where it has to look at
// everything. Earlier calls have searched what is before.
type progress struct {
	intake, rejected uint64 // stream sequences
	outbox           int64
	at               time.Time // of the last call
}

// progressStore remembers the progress of erasures that ran out of time. So
// several calls together can search a stream or an outbox that is too long for
// one. Another ingest starts from the beginning. It is safe for concurrent use.
type progressStore struct {
	mu          sync.Mutex
	byRecipient map[string]progress
}

// take removes and returns the progress of a recipient's erasure; zero if none
// is known.
func (s *progressStore) take(recipient string, now time.Time) progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.byRecipient[recipient]
	delete(s.byRecipient, recipient)
	if now.Sub(known.at) > progressAge {
		return progress{}
	}
	return known
}

// put remembers the progress of an erasure that is not finished.
func (s *progressStore) put(recipient string, p progress, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byRecipient == nil {
		s.byRecipient = map[string]progress{}
	}
	p.at = now
	s.byRecipient[recipient] = p
	if len(s.byRecipient) > maxProgress {
		oldest := recipient
		for other, known := range s.byRecipient {
			if known.at.Before(s.byRecipient[oldest].at) {
				oldest = other
			}
		}
		delete(s.byRecipient, oldest)
	}
}
