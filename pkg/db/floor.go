package db

import (
	"time"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// claimMargin is how long a transaction that makes a message due may take
// until it commits, for the next claim to see it. What takes longer waits for
// the next full claim.
const claimMargin = 2 * time.Second

// A full claim comes every fullEvery, or less often when it takes long: so
// that full claims take no more than a fullShare-th of the time.
const (
	fullEvery = time.Second
	fullShare = 20
)

// everywhere is no floor, for any priority.
var everywhere = make([]time.Time, message.MaxPriority+1)

// Watermark is what one dispatcher remembers of its claims: for each priority the
// due time up to which everything was claimed. A claim begins there. Without
// it each claim would walk over the index entries of all that were claimed
// before, for as long as somebody, a backup for one, holds a snapshot that
// keeps Postgres from removing them.
//
// Nothing stays hidden below a floor: inserts and retries make messages due
// at the present, and what commits later than claimMargin is found by a full
// claim, which has no floor. The zero Watermark is ready; it is not safe for
// concurrent use.
type Watermark struct {
	claimed [message.MaxPriority + 1]time.Time // zero: nothing
	full    time.Time                          // when the last full claim began
	took    time.Duration
}

// begin returns where the walks of a claim begin, by priority.
func (f *Watermark) begin(now time.Time) (floors []time.Time, full bool) {
	if f == nil || now.Sub(f.full) >= max(fullEvery, fullShare*f.took) {
		return everywhere, true
	}
	return f.claimed[:], false
}

// looked notes that a full claim was tried, whatever became of it: one that
// takes longer than a tick may must not be tried again at once.
func (f *Watermark) looked(began time.Time, took time.Duration) {
	if f != nil {
		f.full, f.took = began, took
	}
}

// raise notes what a claim took, once it is committed. A full claim may lower
// a floor: what it found below may not have been all.
func (f *Watermark) raise(claimed []message.Message) {
	if f == nil {
		return
	}
	var last [len(f.claimed)]time.Time
	for _, m := range claimed {
		if m.DeliverAt.After(last[m.Priority]) {
			last[m.Priority] = m.DeliverAt
		}
	}
	for priority, at := range last {
		if !at.IsZero() {
			f.claimed[priority] = at
		}
	}
}
