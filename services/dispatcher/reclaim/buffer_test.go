package reclaim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestTheFindingsOfASweepExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		buffer := &Buffer{lifetime: time.Minute}
		require.Empty(t, buffer.Peek(2))
		buffer.reset()
		buffer.add([]db.ExpiredLease{{ID: message.ID{1}}})
		buffer.add([]db.ExpiredLease{{ID: message.ID{2}}, {ID: message.ID{3}}})
		require.Equal(t, 3, buffer.size())
		peeked := buffer.Peek(2)
		require.Len(t, peeked, 2)
		require.Equal(t, peeked, buffer.Peek(2), "the claim number, not the buffer, guards against a second time")
		buffer.Remove(peeked, []message.Message{{ID: message.ID{2}}})
		require.Equal(t, []db.ExpiredLease{{ID: message.ID{1}}, {ID: message.ID{3}}}, buffer.Peek(2))
		buffer.Remove(buffer.Peek(1), nil)
		require.Equal(t, []db.ExpiredLease{{ID: message.ID{3}}}, buffer.Peek(2))
		<-time.After(time.Minute + time.Nanosecond)
		require.Empty(t, buffer.Peek(2))
	})
}

func TestTheSweepPeriodFollowsTheLease(t *testing.T) {
	t.Parallel()
	for lease, want := range map[time.Duration]time.Duration{
		time.Second:     time.Second,
		time.Minute:     6 * time.Second,
		5 * time.Minute: 30 * time.Second,
		time.Hour:       30 * time.Second,
	} {
		assert.Equal(t, want, sweepPeriod(lease), lease)
	}
}
