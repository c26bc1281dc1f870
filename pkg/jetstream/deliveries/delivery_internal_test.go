package deliveries

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// asleepFor is a reading of the machine's two clocks that are apart: the one that
// can be set has gone on by d while the other stood still, as in a sleep.
func asleepFor(at time.Time, d time.Duration) time.Time {
	at = at.Add(d)
	steady := (*int64)(unsafe.Add(unsafe.Pointer(&at), 8)) // time.Time's second word
	*steady -= int64(d)
	return at
}

func TestAfterASleepNothingIsBegunThatOthersMayHaveTaken(t *testing.T) {
	t.Parallel()
	before := asleepFor(time.Now(), -10*time.Minute) // taken just before a sleep of ten minutes
	held := &Delivery{until: before.Add(15 * time.Second)}
	require.True(t, held.HoldExpired())
	require.False(t, (&Delivery{until: time.Now().Add(15 * time.Second)}).HoldExpired())
}
