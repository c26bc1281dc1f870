package recorder

import "sync/atomic"

// Progress is how far the recorder is, for the notes that it makes in Postgres.
// It is safe for concurrent use.
type Progress struct {
	known atomic.Bool // a comparison was made
	acked atomic.Uint64
}

// after returns up to which event all outcomes are known to be recorded.
func (p *Progress) after() (event uint64, known bool) {
	known = p.known.Load() // before the event, which is stored first
	return p.acked.Load(), known
}

// Set notes up to which event the recorder has acknowledged all, after a
// comparison that found all of those in Postgres.
func (p *Progress) Set(acked uint64) {
	p.acked.Store(acked)
	p.known.Store(true)
}
