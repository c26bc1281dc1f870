package e2e_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// TestARecorderFetchesSoManyBytesAtOnce: a thousand events that tell payloads are
// 250 MiB, which overruns the connection that they come over. Here Postgres lets
// it record nothing, so that what it has in hand can be counted.
func TestARecorderFetchesSoManyBytesAtOnce(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "EVENT_CONTENT", "full")
	builder := events.NewEventBuilder(w.topology, true)
	const told = 60
	list := w.claimed(slices.Collect(func(yield func(message.Message) bool) {
		for range told {
			if !yield(draft()) {
				return
			}
		}
	})...)
	payload := json.RawMessage(`"` + string(slices.Repeat([]byte("7"), 250<<10)) + `"`)
	for _, m := range list {
		now := time.Now()
		m.Content, m.Payload = "", payload
		m.Status, m.Version, m.Attempts, m.SentAt = message.Sent, m.Version+1, 1, &now
		w.publish(builder.Outcome(message.EventSent, m, events.Outcome{
			ClaimNumber: m.ClaimNumber, NextClaimNumber: m.ClaimNumber, Delivery: 1,
			Attempt: &message.Attempt{Number: 1, StartedAt: now, Duration: time.Second, Outcome: message.OutcomeSuccess, HTTPStatus: 200},
		}))
	}
	tx := w.begin()
	_, err := tx.Exec(t.Context(), "LOCK TABLE messages IN EXCLUSIVE MODE")
	require.NoError(t, err)
	w.runDispatcher()
	testenv.Eventually(t, func() (records bool) {
		return w.query(`SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%name: RecordOutcomes%')`).Scan(&records) == nil && records
	})

	recorder, err := w.js.Consumer(t.Context(), w.topology.EventsStream(), events.RecorderConsumer)
	require.NoError(t, err)
	inHand := recorder.CachedInfo().NumAckPending
	require.Positive(t, inHand)
	require.LessOrEqual(t, inHand, 8<<20/len(payload)+1, "the last may reach beyond the bound")

	require.NoError(t, tx.Rollback(t.Context()))
	for _, m := range list {
		w.awaitStatus(m.ID, message.Sent)
	}
}
