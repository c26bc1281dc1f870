package component

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

var errAway = errors.New("dial postgres://u:p@h: refused")

func TestRetryGoesOnUntilItIsDoneOrTold(t *testing.T) {
	t.Parallel()
	quiet := service.NewFailureTracker(zap.NewNop(), "test")
	t.Run("until it is there", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			err := Retry(t.Context(), time.Second, quiet, func(context.Context) error {
				if tries++; tries < 10 {
					return errAway
				}
				return nil
			})
			require.NoError(t, err)
			assert.Equal(t, 10, tries)
		})
	})
	t.Run("a stop ends the waiting, not the try", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			err := Retry(ctx, time.Second, quiet, func(try context.Context) error {
				cancel()
				require.NoError(t, try.Err())
				<-try.Done()
				return try.Err()
			})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.True(t, db.Unavailable(err))
		})
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
