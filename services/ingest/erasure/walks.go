package erasure

import (
	"sync"
	"time"
)

const (
	// mostWalks is how many erasures' walks are remembered, and walkLife for
	// how long.
	mostWalks = 1000
	walkLife  = time.Hour
)

// walk is how far an erasure has come where it has to look at everything: what
// is before was looked at by an earlier call.
type walk struct {
	intake, rejected uint64
	outbox           int64
	at               time.Time // of the last call
}

// walks remembers the walks of erasures that ran out of time, so that a
// stream or an outbox that is too long for one call is done by several. What
// another ingest has looked at is looked at again. It is safe for concurrent
// use.
type walks struct {
	mu   sync.Mutex
	byTo map[string]walk
}

// Take returns a recipient's walk; it begins anew where none is known.
func (w *walks) take(to string, now time.Time) walk {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.byTo[to]
	delete(w.byTo, to)
	if now.Sub(known.at) > walkLife {
		return walk{}
	}
	return known
}

// keep remembers a walk that is to go on.
func (w *walks) keep(to string, done walk, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byTo == nil {
		w.byTo = map[string]walk{}
	}
	done.at = now
	w.byTo[to] = done
	if len(w.byTo) > mostWalks {
		oldest := to
		for other, known := range w.byTo {
			if known.at.Before(w.byTo[oldest].at) {
				oldest = other
			}
		}
		delete(w.byTo, oldest)
	}
}
