package backpressure

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestWhatCanNotBeTriedForLongCountsAsAnAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f LocalFailures
		id, other, left := message.NewID(time.Now()), message.NewID(time.Now()), message.NewID(time.Now())
		require.False(t, f.TooLong(left))
		began := time.Now()
		for !f.TooLong(id) {
			time.Sleep(LocalPause) // by the bubble's clock
			require.False(t, f.TooLong(other))
			f.Forget(other)
		}
		require.Equal(t, LocalLimit, time.Since(began))
		require.False(t, f.TooLong(id), "it starts over")
		time.Sleep(5 * LocalLimit)
		f.TooLong(other)
		require.Len(t, f.since, 1, "what others have sent is forgotten")
	})
}
