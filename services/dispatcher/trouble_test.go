package dispatcher

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
	"github.com/message-dispatcher/dispatch/pkg/message"
)

var errAway = errors.New("dial postgres://u:p@h: refused")

func TestPersistGoesOnUntilItIsDoneOrTold(t *testing.T) {
	t.Parallel()
	quiet := newTrouble(zap.NewNop(), "test")
	t.Run("until it is there", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			err := persist(t.Context(), time.Second, quiet, func(context.Context) error {
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
			err := persist(ctx, time.Second, quiet, func(try context.Context) error {
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

func TestWhatTheSweepFoundGoesStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shelf := &shelf{life: time.Minute}
		require.Empty(t, shelf.take(2))
		shelf.put([]db.ExpiredLease{{ID: message.ID{1}}})
		require.Equal(t, 3, shelf.add([]db.ExpiredLease{{ID: message.ID{2}}, {ID: message.ID{3}}}))
		taken := shelf.take(2)
		require.Len(t, taken, 2)
		require.Equal(t, taken, shelf.take(2), "the claim number, not the shelf, guards against a second time")
		shelf.remove(taken, []message.Message{{ID: message.ID{2}}})
		require.Equal(t, []db.ExpiredLease{{ID: message.ID{1}}, {ID: message.ID{3}}}, shelf.take(2))
		shelf.remove(shelf.take(1), nil)
		require.Equal(t, []db.ExpiredLease{{ID: message.ID{3}}}, shelf.take(2))
		<-time.After(time.Minute + time.Nanosecond)
		require.Empty(t, shelf.take(2))
	})
}

func TestJitterStaysWithinHalfAndWhole(t *testing.T) {
	t.Parallel()
	for range 1000 {
		d := jitter(time.Second)
		require.GreaterOrEqual(t, d, time.Second/2)
		require.LessOrEqual(t, d, time.Second)
	}
}
