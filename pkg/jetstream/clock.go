package jetstream

import (
	"context"
	"sync/atomic"
	"time"
)

// indistinct is the difference of two clocks below which they count as the
// same, besides what the question's way may have taken.
const indistinct = 50 * time.Millisecond

// ClockSkew is how far a server's clock is ahead of this machine's. The zero value
// says that they agree. It is safe for concurrent use.
type ClockSkew struct{ ahead atomic.Int64 }

// Measure takes an answer of the server's into account: what its clock said,
// and when by this machine's clock it was asked and had answered. A difference
// that may as well come from the way counts as none.
func (s *ClockSkew) Measure(asked, told, answered time.Time) {
	// By either of the machine's clocks: it may have slept in between.
	trip := max(answered.Sub(asked), answered.Round(0).Sub(asked.Round(0)))
	ahead := told.Round(0).Sub(answered.Round(0).Add(-trip / 2))
	if ahead.Abs() <= trip/2+indistinct {
		ahead = 0
	}
	s.ahead.Store(int64(ahead))
}

// Ahead returns the difference as it was measured last.
func (s *ClockSkew) Ahead() time.Duration { return time.Duration(s.ahead.Load()) }

// At is what the server's clock says when this machine's says t.
func (s *ClockSkew) At(t time.Time) time.Time { return t.Add(s.Ahead()) }

// Now is what the server's clock says.
func (s *ClockSkew) Now() time.Time { return s.At(time.Now()) }

// Until is how long it takes until the server's clock says t.
func (s *ClockSkew) Until(t time.Time) time.Duration { return time.Until(t.Add(-s.Ahead())) }

// passed reports whether ctx's deadline is over. It asks the clocks: in a
// process that stood still, ctx itself learns of it a moment too late, and
// nothing may be published that somebody else has relayed meanwhile.
func passed(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && PassedByAnyClock(deadline, time.Now())
}

// PassedByAnyClock reports whether a time is PassedByAnyClock by either of a machine's clocks. Go
// compares times by the one that can't be set; but that one stands still while
// the machine sleeps, and others have gone on meanwhile.
func PassedByAnyClock(deadline, now time.Time) bool {
	return !now.Before(deadline) || !now.Round(0).Before(deadline.Round(0))
}
