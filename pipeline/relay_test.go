package pipeline_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// leaveUnpublished makes a claim as a dispatcher does that dies before it can
// publish it.
func (w *world) leaveUnpublished() db.Tick {
	w.t.Helper()
	composer := events.NewComposer(w.top, false)
	tick, err := w.store.Tick(w.t.Context(), db.TickParams{
		Destination: message.DefaultDestination, Limit: 100, Lease: time.Hour, BatchSize: db.DefaultBatchSize,
		Box: func(c db.Claim) []byte { return events.Encode(composer.Claimed(events.OriginTick, c.Fresh)) },
	})
	require.NoError(w.t, err)
	require.NotZero(w.t, tick.OutboxID)
	return tick
}

func TestAClaimWhoseOwnerDiedIsRelayedAndTheIntervalBeginsThen(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	w := newWorld(t, "PROCESSING_INTERVAL", interval.String(), "BATCH_SIZE", "1")
	ids := w.insert(drafts(2)...)
	claimed := time.Now()
	tick := w.leaveUnpublished()
	require.Equal(t, ids[0], tick.Fresh[0].ID)
	for range 2 {
		w.runDispatcher()
	}

	w.awaitDeliveries(2)

	emitted := w.emitted()
	require.Equal(t, w.top.Deliver(message.DefaultDestination, ids[0]), emitted[0].Subject)
	require.Equal(t, events.OriginRelay, emitted[0].Header.Get(events.HeaderOrigin))
	require.Greater(t, emitted[0].Time.Sub(claimed), 5*time.Second, "its owner could have published it until then")
	require.Equal(t, events.OriginTick, emitted[1].Header.Get(events.HeaderOrigin))
	require.GreaterOrEqual(t, emitted[1].Time.Sub(emitted[0].Time), interval)
}

func TestAnOldClaimIsNotRepeatedWhereItWasPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "PROCESSING_INTERVAL", "1h", "BATCH_SIZE", "3")
	ids := w.insert(drafts(3)...)
	tick := w.leaveUnpublished()
	// So long ago that the stream has forgotten the ids: one still waits, one
	// was sent already, and one was never published.
	w.sql("UPDATE outbox SET created_at = created_at - interval '1 minute'")
	w.emit(events.OriginTick, tick.Fresh[0])
	recorded, err := w.store.Record(t.Context(), []db.Outcome{{
		ID: ids[1], Move: message.Succeed, Version: 3, Claim: 1, NextClaim: 1, Delivery: 1, Attempts: 1, EndedAt: time.Now(),
	}}, time.Hour)
	require.NoError(t, err)
	require.Equal(t, 1, recorded)

	w.runDispatcher()

	require.Eventually(t, func() bool {
		claims, err := w.store.UnpublishedClaims(t.Context(), 0)
		return err == nil && len(claims) == 0
	}, patience, 10*time.Millisecond)
	emitted := w.emitted()
	require.Len(t, emitted, 2)
	require.EqualValues(t, 2, w.deliveries().State.LastSeq)
	require.Equal(t, events.OriginTick, emitted[0].Header.Get(events.HeaderOrigin))
	require.Equal(t, w.top.Deliver(message.DefaultDestination, ids[2]), emitted[1].Subject)
	require.Equal(t, events.OriginRelay, emitted[1].Header.Get(events.HeaderOrigin))
}

func TestABadOutboxRowHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sql("INSERT INTO outbox (batch, created_at) SELECT '\\x00', now() - interval '1 hour' FROM generate_series(1, 60)")
	id := w.insert(draft())[0]
	w.sql("UPDATE outbox SET created_at = now() - interval '1 hour'")

	w.runDispatcher()

	require.ElementsMatch(t, []message.EventType{message.EventCreated, message.EventQueued}, kinds(w.events(id, 2)),
		"after more bad rows than a batch holds")
	require.Eventually(t, func() bool {
		rows, _, err := w.store.OutboxBacklog(t.Context())
		return err == nil && rows == 60
	}, patience, 10*time.Millisecond, "they stay where they are")
}

func TestAnOutboxRowThatNATSRefusesHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "PROCESSING_INTERVAL", "1h")
	too := events.Encode([]events.Entry{{
		Subject: w.top.Event(message.EventCreated, "x"), MsgID: "too large", Data: []byte(`"` + strings.Repeat("x", 2<<20) + `"`),
	}})
	w.sql("INSERT INTO outbox (batch, created_at) VALUES ($1, now() - interval '1 hour')", too)
	id := w.insert(draft())[0]
	w.sql("UPDATE outbox SET created_at = now() - interval '1 hour'")

	w.runDispatcher()

	require.ElementsMatch(t, []message.EventType{message.EventCreated, message.EventQueued}, kinds(w.events(id, 2)))
	require.Eventually(t, func() bool {
		rows, _, err := w.store.OutboxBacklog(t.Context())
		return err == nil && rows == 1
	}, patience, 10*time.Millisecond)
}
