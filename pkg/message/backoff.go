package message

import (
	"math"
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait before a message is tried again: exponential
// with equal jitter, that is a delay between d/2 and d for
// d = min(Base·Factor^(n-1), Max).
type Backoff struct {
	Base       time.Duration // the wait after the first failure, before jitter
	Factor     float64       // what each further failure multiplies it by
	Max        time.Duration // the longest wait, also for a Retry-After
	MaxRetries int           // attempts after the first
}

// Exhausted reports whether no retry is left after the n-th failed attempt
// of a budget, n counting from 1.
func (b Backoff) Exhausted(n int) bool {
	return n > b.MaxRetries
}

// Delay returns the wait after the n-th failed attempt of a budget, n
// counting from 1. A retryAfter that is longer wins, up to Max. It is safe
// for concurrent use.
func (b Backoff) Delay(n int, retryAfter time.Duration) time.Duration {
	d := float64(b.Base) * math.Pow(b.Factor, float64(n-1))
	d = min(d, float64(b.Max))
	jittered := time.Duration(d/2 + rand.Float64()*d/2)
	return min(max(jittered, retryAfter), b.Max)
}
