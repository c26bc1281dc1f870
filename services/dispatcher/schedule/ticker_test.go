package schedule

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
)

func TestTheTickerNeverSleepsPastATick(t *testing.T) {
	t.Parallel()
	for interval := range 5 {
		interval := time.Duration(interval) * time.Second / 2
		for wait := -interval; wait <= 2*interval; wait += interval/7 + 1 {
			next, due := untilTick(db.Pace{Running: true, Trusted: true, Interval: interval, Wait: wait})
			require.Equal(t, wait <= 0 || wait > interval, due, "%s before a tick, interval %s", wait, interval)
			require.LessOrEqual(t, next.length, max(wait, 0))
			require.Equal(t, !due, next.length > 0, "a turn without a wait would use up a core")
		}
		for _, pace := range []db.Pace{
			{Interval: interval, Trusted: true}, {Interval: interval, Running: true}, {Interval: interval, Trusted: true, Running: true, ClaimOpen: true},
		} {
			next, due := untilTick(pace)
			require.False(t, due, "stopped, not trusted, or not yet published")
			require.Positive(t, next.length)
			require.LessOrEqual(t, next.length, time.Second, "it may change on another instance")
		}
	}
}
