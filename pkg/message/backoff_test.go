package message

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var defaults = Backoff{Base: 5 * time.Second, Factor: 10, Max: time.Hour, MaxRetries: 3}

func TestTheDefaultWaits(t *testing.T) {
	t.Parallel()
	for n, d := range []time.Duration{5 * time.Second, 50 * time.Second, 500 * time.Second, time.Hour, time.Hour} {
		shortest, longest := time.Duration(1<<62), time.Duration(0)
		for range 2000 {
			delay := defaults.Delay(n+1, 0)
			shortest, longest = min(shortest, delay), max(longest, delay)
		}
		assert.GreaterOrEqual(t, shortest, d/2)
		assert.LessOrEqual(t, longest, d)
		// The jitter uses the whole range, or the retries of a great outage
		// come back together.
		assert.Less(t, shortest, d/2+d/20)
		assert.Greater(t, longest, d-d/20)
	}
}

func TestDelayStaysInItsBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := Backoff{
			Base:   time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "base")),
			Factor: rapid.Float64Range(1, 1e6).Draw(t, "factor"),
		}
		b.Max = b.Base + time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "max"))
		n := rapid.IntRange(1, 10_000).Draw(t, "n")

		d := float64(b.Base)
		for i := 1; i < n && d < float64(b.Max); i++ {
			d *= b.Factor
			if b.Factor == 1 {
				break
			}
		}
		d = min(d, float64(b.Max))
		delay := float64(b.Delay(n, 0))
		const rounding = 1e-6 // of powers and repeated products
		require.GreaterOrEqual(t, delay+1, d/2*(1-rounding))
		require.LessOrEqual(t, delay, d*(1+rounding)+1)

		retryAfter := time.Duration(rapid.Int64().Draw(t, "retryAfter"))
		asked := b.Delay(n, retryAfter)
		require.GreaterOrEqual(t, asked, min(retryAfter, b.Max), "what the receiver asks for, up to Max")
		require.LessOrEqual(t, asked, b.Max)
		if float64(retryAfter) > d+1 {
			require.Equal(t, min(retryAfter, b.Max), asked, "the later of the two, and no later")
		}
	})
}

func TestAShorterRetryAfterChangesNothing(t *testing.T) {
	t.Parallel()
	for _, retryAfter := range []time.Duration{-time.Hour, 0, time.Second} {
		assert.GreaterOrEqual(t, defaults.Delay(2, retryAfter), 25*time.Second)
	}
}

func TestExhausted(t *testing.T) {
	t.Parallel()
	assert.False(t, defaults.Exhausted(1))
	assert.False(t, defaults.Exhausted(3), "the third retry is still due")
	assert.True(t, defaults.Exhausted(4))
	assert.True(t, Backoff{}.Exhausted(1), "no retries at all")
}
