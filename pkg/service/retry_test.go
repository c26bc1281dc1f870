package service

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

var errAway = errors.New("dial postgres://u:geheim@h: refused")

func TestWaitFor(t *testing.T) {
	t.Parallel()
	t.Run("ready at once: no log line", func(t *testing.T) {
		t.Parallel()
		core, logs := observer.New(zapcore.DebugLevel)
		require.NoError(t, WaitFor(t.Context(), zap.New(core), "postgres", func(context.Context) error { return nil }))
		assert.Zero(t, logs.Len())
	})
	t.Run("ready after a minute", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			core, logs := observer.New(zapcore.DebugLevel)
			began, tries := time.Now(), 0
			err := WaitFor(t.Context(), zap.New(core), "postgres", func(context.Context) error {
				tries++
				if time.Since(began) < time.Minute {
					return errAway
				}
				return nil
			})
			require.NoError(t, err)
			assert.Less(t, time.Since(began), time.Minute+2*waitLongest)
			assert.Greater(t, tries, 15)
			all := logs.All()
			assert.GreaterOrEqual(t, len(all), 6)
			assert.LessOrEqual(t, len(all), 8, "the first failure, one about every 10 s, the success")
			first, last := all[0], all[len(all)-1]
			assert.Equal(t, "waiting for postgres", first.Message)
			assert.Equal(t, "dial postgres://***@h: refused", first.ContextMap()["error"])
			assert.Equal(t, began, first.Time)
			assert.Equal(t, "postgres is ready", last.Message)
		})
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(errors.New("signal")) })
			err := WaitFor(ctx, zap.NewNop(), "postgres", func(context.Context) error { return errAway })
			assert.EqualError(t, err, "wait for postgres: context canceled (last failure: dial postgres://***@h: refused)")
			assert.True(t, onlyCanceled(err))
		})
	})
	t.Run("a try that hangs is cut off", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			core, logs := observer.New(zapcore.DebugLevel)
			hung := false
			err := WaitFor(t.Context(), zap.New(core), "nats", func(ctx context.Context) error {
				if hung {
					return nil
				}
				hung = true
				<-ctx.Done()
				return ctx.Err()
			})
			require.NoError(t, err)
			assert.Equal(t, 2, logs.Len())
		})
	})
	t.Run("hopeless", func(t *testing.T) {
		t.Parallel()
		err := WaitFor(t.Context(), zap.NewNop(), "schema", func(context.Context) error { return backoff.Permanent(errAway) })
		assert.ErrorIs(t, err, errAway)
		assert.ErrorContains(t, err, "wait for schema: ")
	})
}

func TestRetryPausesLongerEachTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		var reported int
		retry := Retry{First: time.Second, Longest: 10 * time.Second, Report: func(error) { reported++ }}
		assert.NoError(t, retry.Do(t.Context(), func(context.Context) error {
			if tries = append(tries, time.Now()); len(tries) < 8 {
				return errAway
			}
			return nil
		}))
		assert.Len(t, tries, 8)
		assert.Equal(t, 7, reported)
		assert.LessOrEqual(t, tries[1].Sub(tries[0]), 2*time.Second)
		assert.GreaterOrEqual(t, tries[7].Sub(tries[6]), 5*time.Second)
	})
}

func TestRetryEndsWithAFinalErrorOrItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("bad data")
		retry := Retry{First: time.Second, Longest: time.Second, Final: func(err error) bool { return errors.Is(err, bad) }}
		assert.Equal(t, bad, retry.Do(t.Context(), func(context.Context) error { return bad }))
		assert.Equal(t, errAway, Retry{First: time.Second, Longest: time.Second}.Do(t.Context(), func(context.Context) error { return backoff.Permanent(errAway) }))

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		assert.Equal(t, errAway, retry.Do(ctx, func(context.Context) error { return errAway }), "the last failure, not ctx.Err()")
		assert.Equal(t, errAway, retry.Do(ctx, func(context.Context) error { return errAway }), "try is called at least once")
	})
}

func TestFinishTryLetsATryOutliveItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		slow := func(ctx context.Context) error {
			if !Sleep(ctx, time.Minute) {
				return ctx.Err()
			}
			return nil
		}
		assert.ErrorIs(t, Retry{First: time.Second, Longest: time.Second}.Do(ctx, slow), context.DeadlineExceeded)
		assert.NoError(t, Retry{First: time.Second, Longest: time.Second, FinishTry: true, Try: time.Hour}.Do(ctx, slow))
		assert.ErrorIs(t, Retry{First: time.Second, Longest: time.Second, FinishTry: true, Try: time.Second}.Do(ctx, slow), context.DeadlineExceeded)
	})
}
