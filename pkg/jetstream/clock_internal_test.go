package jetstream

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// asleep is a reading of the machine's two clocks that are apart: the one that
// can be set has gone on by d while the other stood still, as in a sleep.
func asleep(at time.Time, d time.Duration) time.Time {
	at = at.Add(d)
	steady := (*int64)(unsafe.Add(unsafe.Pointer(&at), 8)) // time.Time's second word
	*steady -= int64(d)
	return at
}

func TestATimeIsOverByEitherClock(t *testing.T) {
	t.Parallel()
	now := time.Now()
	slept := asleep(now, 10*time.Minute)
	require.Zero(t, slept.Sub(now), "the steady clock stood still")
	require.Equal(t, 10*time.Minute, slept.Round(0).Sub(now.Round(0)), "the other went on")

	deadline := now.Add(5 * time.Second)
	require.False(t, PassedByAnyClock(deadline, now))
	require.True(t, PassedByAnyClock(deadline, now.Add(5*time.Second)))
	require.True(t, PassedByAnyClock(deadline, slept), "the machine slept")
	require.True(t, PassedByAnyClock(deadline, asleep(now.Add(time.Minute), -time.Hour)), "its clock was set back")
}

func TestAfterASleepADeadlineIsPassed(t *testing.T) {
	t.Parallel()
	before := asleep(time.Now(), -10*time.Minute) // taken just before a sleep of ten minutes
	owner, cancel := context.WithDeadline(t.Context(), before.Add(5*time.Second))
	defer cancel()
	require.NoError(t, owner.Err(), "ctx itself goes by the steady clock")
	require.True(t, passed(owner))
}

// A machine that sleeps while it waits for an answer knows nothing after.
func TestSkewIsNotTakenFromAnAnswerThatWasSleptOver(t *testing.T) {
	t.Parallel()
	asked := time.Now()
	var skew ClockSkew
	skew.Measure(asked, asked.Add(time.Millisecond), asleep(asked, 10*time.Minute))
	require.Zero(t, skew.Ahead())
}
