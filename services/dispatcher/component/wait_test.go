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

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

var errAway = errors.New("dial postgres://u:p@h: refused")

func TestRetryContinuesUntilItSucceedsOrIsStopped(t *testing.T) {
	t.Parallel()
	quiet := service.NewFailureTracker(zap.NewNop(), "test")
	t.Run("until it succeeds", func(t *testing.T) {
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
	t.Run("the end of the context ends the wait, not the try", func(t *testing.T) {
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
			require.True(t, dbpool.Unavailable(err))
		})
	})
}
