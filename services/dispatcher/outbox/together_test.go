package outbox

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
)

// TestRowsAreUnpackedFewAtOnce: what is alike is packed to a hundredth.
func TestRowsAreUnpackedFewAtOnce(t *testing.T) {
	t.Parallel()
	batch := events.Encode([]events.Entry{{Subject: "x", Data: make([]byte, 6<<20)}})
	require.Less(t, len(batch), 1<<20)
	rows := make([]db.OutboxRow, 5)
	for i := range rows {
		rows[i] = db.OutboxRow{ID: int64(i + 1), Batch: batch}
	}
	some, cut := together(rows)
	require.Len(t, some, 3)
	require.EqualValues(t, 4, cut)
	some, cut = together(rows[:2])
	require.Len(t, some, 2)
	require.Zero(t, cut)
	require.Zero(t, events.DecodedSize(nil))
}
