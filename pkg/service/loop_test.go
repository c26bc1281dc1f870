package service

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestALoopWaitsBetweenTurnsAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, immediately := range map[string]bool{"at once": true, "later": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now()
				var turns []time.Duration
				err := Loop{Every: time.Minute, Immediately: immediately}.Run(ctx, func(context.Context) error {
					turns = append(turns, time.Since(began))
					began = time.Now()
					if len(turns) == 20 {
						cancel()
					}
					return errAway
				})
				assert.NoError(t, err)
				assert.Len(t, turns, 20)
				assert.Equal(t, immediately, turns[0] == 0)
				for _, waited := range turns[1:] {
					assert.GreaterOrEqual(t, waited, 30*time.Second)
					assert.LessOrEqual(t, waited, time.Minute)
				}
			})
		})
	}
}

func TestALoopReportsItsTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		ctx, cancel := context.WithCancel(t.Context())
		turns := 0
		loop := Loop{Every: time.Second, Failures: NewFailureTracker(zap.New(core), "tick")}
		assert.NoError(t, loop.RunPaced(ctx, func(context.Context) (time.Duration, error) {
			turns++
			switch turns {
			case 1:
				return time.Hour, errAway
			case 2:
				return 0, nil
			}
			cancel()
			return 0, errAway // ctx has ended: not a failure
		}))
		assert.Len(t, logs.FilterMessage("tick does not work").All(), 1)
		works := logs.FilterMessage("tick works again").All()
		assert.Len(t, works, 1)
		assert.GreaterOrEqual(t, works[0].ContextMap()["after"], 30*time.Minute)
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		assert.True(t, Sleep(ctx, time.Second))
		assert.False(t, Sleep(ctx, time.Hour))
		assert.Equal(t, time.Minute, time.Since(began))
		assert.False(t, Sleep(ctx, 0))
	})
}

func TestJitterStaysWithinHalfAndWhole(t *testing.T) {
	t.Parallel()
	for range 1000 {
		d := Jitter(time.Second)
		require.GreaterOrEqual(t, d, time.Second/2)
		require.LessOrEqual(t, d, time.Second)
	}
}
