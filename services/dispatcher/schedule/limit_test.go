package schedule

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestAnAllowanceEndsWithItsTimeItsIDsOrAFailedTick(t *testing.T) {
	t.Parallel()
	emitted := func(n int) db.TickResult {
		return db.TickResult{Ran: true, Claim: db.Claim{Fresh: make([]message.Message, n)}}
	}
	synctest.Test(t, func(t *testing.T) {
		var a allowance
		require.Zero(t, a.left())

		a.grant()
		a.use(emitted(100))
		require.Equal(t, allowedIDs-100, a.left())
		<-time.After(allowedFor)
		require.Zero(t, a.left(), "its time is over")

		a.grant()
		a.use(emitted(allowedIDs/2 + 1))
		require.Zero(t, a.left(), "a small rest would make a small batch")

		for name, tick := range map[string]db.TickResult{
			"another dispatcher ticks": {},
			"an interval was set":      {Ran: true, Interval: time.Second},
		} {
			a.grant()
			a.use(tick)
			require.Zero(t, a.left(), name)
		}
	})
}
