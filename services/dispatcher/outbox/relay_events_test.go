package outbox

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
)

// TestAPageIsBoundedByItsDecodedSize: similar entries are packed to a hundredth of their size.
func TestAPageIsBoundedByItsDecodedSize(t *testing.T) {
	t.Parallel()
	batch := events.EncodeOutbox([]events.OutboxMessage{{Subject: "x", Data: make([]byte, 6<<20)}})
	require.Less(t, len(batch), 1<<20)
	rows := make([]db.OutboxRow, 5)
	for i := range rows {
		rows[i] = db.OutboxRow{ID: int64(i + 1), Batch: batch}
	}
	some, cut := cutPage(rows)
	require.Len(t, some, 3)
	require.EqualValues(t, 4, cut)
	some, cut = cutPage(rows[:2])
	require.Len(t, some, 2)
	require.Zero(t, cut)
	require.Zero(t, events.OutboxSize(nil))
}
