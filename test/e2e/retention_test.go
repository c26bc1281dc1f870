package e2e_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// TestDispatchersDeleteWhatIsPastRetention has two of them at it.
func TestDispatchersDeleteWhatIsPastRetention(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "RETENTION", "1h")
	past := drafts(1200) // more than two steps
	for i := range past {
		past[i].ID = message.NewID(time.Now().Add(-3 * time.Hour))
	}
	w.insert(past...)
	w.sql(`UPDATE messages SET status = 'SENT', updated_at = now() - interval '2 hours'`)
	w.sql(`INSERT INTO attempts SELECT id, 1, 1, 1, now(), 1, 200, 'success' FROM messages`)
	recent := w.insert(draft())[0]
	w.sql(`UPDATE messages SET status = 'SENT' WHERE id = $1`, recent)
	addr := freeAddr(t)
	w.runDispatcher("HEALTH_ADDR", addr)
	w.runDispatcher("RETENTION", "0")

	testenv.Eventually(t, func() bool {
		overview, err := w.store.Overview(t.Context())
		return err == nil && overview.Counts[message.Sent] == 1
	})

	_, err := w.store.Get(t.Context(), recent)
	require.NoError(t, err)
	var attempts int
	require.NoError(t, w.query(`SELECT count(*) FROM attempts`).Scan(&attempts))
	require.Zero(t, attempts)
	testenv.Eventually(t, func() bool {
		response, err := http.Get("http://" + addr + "/metrics")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return err == nil && strings.Contains(string(text), `dispatch_dispatcher_deleted_rows_total{table="messages"} 1200`)
	})
}

// TestADispatcherSweepsAttemptsWithoutAMessage, also where nothing is deleted
// by its age.
func TestADispatcherSweepsAttemptsWithoutAMessage(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "RETENTION", "0")
	kept := w.insert(draft())[0]
	w.sql(`INSERT INTO attempts SELECT $1::uuid, 1, 1, 1, now(), 1, 200, 'success'`, kept)
	w.sql(`INSERT INTO attempts SELECT $1::uuid, 1, 1, 1, now(), 1, 200, 'success'`, message.NewID(time.Now()))
	w.runDispatcher()

	testenv.Eventually(t, func() bool {
		var attempts int
		return w.query(`SELECT count(*) FROM attempts`).Scan(&attempts) == nil && attempts == 1
	})

	var left message.ID
	require.NoError(t, w.query(`SELECT message_id FROM attempts`).Scan(&left))
	require.Equal(t, kept, left)
}
