package recorder

import "sync/atomic"

// VerifiedProgress is up to which event all outcomes are recorded, as a
// comparison with Postgres has verified. The recorder stores it with each batch.
// The zero value knows nothing yet. It is safe for concurrent use.
type VerifiedProgress struct {
	known    atomic.Bool
	sequence atomic.Uint64
}

// Set stores that the outcomes of all events up to a sequence are in Postgres.
func (p *VerifiedProgress) Set(sequence uint64) {
	p.sequence.Store(sequence)
	p.known.Store(true)
}

func (p *VerifiedProgress) upTo() (sequence uint64, known bool) {
	known = p.known.Load() // first, because Set stores it last
	return p.sequence.Load(), known
}
