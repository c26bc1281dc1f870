package e2e_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// leaveUnpublished makes a claim as a dispatcher does that dies before it can
// publish it.
func (w *pipeline) leaveUnpublished() db.TickResult {
	w.t.Helper()
	builder := events.NewEventBuilder(w.topology, false)
	tick, err := w.store.Tick(w.t.Context(), db.TickParams{
		Destination: message.DefaultDestination, Limit: 100, Lease: time.Hour, BatchSize: db.DefaultBatchSize,
		EncodeOutbox: func(c db.Claim) []byte { return events.EncodeOutbox(builder.Claims(events.OriginTick, c.Fresh)) },
	})
	require.NoError(w.t, err)
	require.NotZero(w.t, tick.OutboxID)
	return tick
}

func TestAClaimWhoseOwnerDiedIsRelayedAndTheIntervalBeginsThen(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	w := newPipeline(t, "PROCESSING_INTERVAL", interval.String(), "BATCH_SIZE", "1")
	ids := w.insert(drafts(2)...)
	claimed := time.Now()
	tick := w.leaveUnpublished()
	require.Equal(t, ids[0], tick.Fresh[0].ID)
	for range 2 {
		w.runDispatcher()
	}

	w.awaitDeliveries(2)

	emitted := w.emitted()
	require.Equal(t, w.topology.DeliverSubject(message.DefaultDestination, ids[0]), emitted[0].Subject)
	require.Equal(t, events.OriginRelay, emitted[0].Header.Get(events.HeaderOrigin))
	require.Greater(t, emitted[0].Time.Sub(claimed), 5*time.Second, "its owner could have published it until then")
	require.Equal(t, events.OriginTick, emitted[1].Header.Get(events.HeaderOrigin))
	require.GreaterOrEqual(t, emitted[1].Time.Sub(emitted[0].Time), interval)
}

func TestAnOldClaimIsNotRepeatedWhereItWasPublished(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "PROCESSING_INTERVAL", "1h", "BATCH_SIZE", "3")
	ids := w.insert(drafts(3)...)
	tick := w.leaveUnpublished()
	// So long ago that the stream has forgotten the ids: one still waits, one
	// was sent already, and one was never published.
	w.sql("UPDATE outbox SET created_at = created_at - interval '1 minute'")
	w.emit(events.OriginTick, tick.Fresh[0])
	recorded, err := w.store.Record(t.Context(), []db.Outcome{{
		ID: ids[1], Transition: message.Succeed, Version: 3, ClaimNumber: 1, NextClaimNumber: 1, DeliveryCount: 1, Attempts: 1, EndedAt: time.Now(),
	}}, time.Hour)
	require.NoError(t, err)
	require.Equal(t, 1, recorded)

	w.runDispatcher()

	testenv.Eventually(t, func() bool {
		claims, err := w.store.UnpublishedClaims(t.Context(), 0)
		return err == nil && len(claims) == 0
	})
	emitted := w.emitted()
	require.Len(t, emitted, 2)
	require.EqualValues(t, 2, w.deliveries().State.LastSeq)
	require.Equal(t, events.OriginTick, emitted[0].Header.Get(events.HeaderOrigin))
	require.Equal(t, w.topology.DeliverSubject(message.DefaultDestination, ids[2]), emitted[1].Subject)
	require.Equal(t, events.OriginRelay, emitted[1].Header.Get(events.HeaderOrigin))
}

// abandon makes whatever is in the outbox old enough to be relayed.
func (w *pipeline) abandon() {
	w.t.Helper()
	w.sql("UPDATE outbox SET created_at = created_at - interval '1 minute', not_before = now() - interval '1 second'")
}

// A publish may lie in the buffers of a network for minutes, longer than JetStream
// remembers any id.
func TestWhatArrivesAfterTheRelayIsDropped(t *testing.T) {
	t.Parallel()
	for name, claims := range map[string]int{"of a first claim": 0, "of a later claim": 4} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newPipeline(t, "WEBHOOK_TIMEOUT", "30s", "SHUTDOWN_TIMEOUT", "45s")
			answer, release := held(t)
			w.webhook.respondWith(func(int, call, http.ResponseWriter, *http.Request) { <-answer })
			w.insert(draft())
			w.sql("UPDATE messages SET claim_number = $1", claims)
			m := w.leaveUnpublished().Fresh[0]
			w.abandon()
			w.runDispatcher()
			w.runSender()
			w.runSender()
			w.awaitCalls(m.ID, 1)

			late := events.NewEventBuilder(w.topology, false).Delivery(events.OriginTick, m)
			ctx, cancel := context.WithTimeout(t.Context(), moment)
			defer cancel()
			err := jetstream.NewPublisher(w.js).Publish(ctx, []events.OutboxMessage{late})
			if claims == 0 {
				require.Error(t, err, "it does not take the place of the delivery that is in flight")
			} else {
				require.NoError(t, err)
				// The sender that has the request in flight keeps the late one until
				// that has ended; the other drops it at once.
				testenv.Eventually(t, func() bool { return w.consumer().NumPending == 0 })
			}
			require.Len(t, w.webhook.received(m.ID.String()), 1)
			release()
			w.awaitStatus(m.ID, message.Sent)
			w.awaitDeliveries(0)
			w.emit(events.OriginTick, m)
			w.awaitDeliveries(0)
			require.Len(t, w.webhook.received(m.ID.String()), 1)
		})
	}
}

// The original arrives after a relay has looked for it and before the relay's
// number is committed, so that a sender's request is in flight under the old one.
func TestARelayWaitsForTheDeliveryThatTheFastPathEmits(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "WEBHOOK_TIMEOUT", "30s", "SHUTDOWN_TIMEOUT", "45s")
	answer, release := held(t)
	w.webhook.respondWith(func(n int, _ call, rw http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			<-answer
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	w.insert(draft())
	m := w.leaveUnpublished().Fresh[0]
	w.runSender()
	w.emit(events.OriginTick, m)
	w.awaitCalls(m.ID, 1)
	claims, err := w.store.AbandonedClaims(t.Context(), 0, 1)
	require.NoError(t, err)
	taken, err := w.store.TakeOverClaims(t.Context(), claims, db.TakeOverParams{
		Lease: time.Hour, Unpublished: []db.Delivery{{ID: m.ID, ClaimNumber: 1}},
		Rewrite: func(batch []byte, raised map[message.ID]message.ClaimNumber) db.RewrittenClaim {
			entries, err := events.DecodeOutbox(batch)
			require.NoError(t, err)
			require.True(t, entries[0].IsDelivery())
			entries[0] = entries[0].Relayed(m.ID, raised[m.ID], 0)
			return db.RewrittenClaim{Batch: events.EncodeOutbox(entries), IDs: 1, Size: 1}
		},
	})
	require.NoError(t, err)
	require.Len(t, taken, 1)

	w.runDispatcher()
	for relays := 2; relays < 4; relays++ {
		w.abandon()
		testenv.Eventually(t, func() bool { return w.one("SELECT relay_count FROM outbox WHERE is_claim") >= relays })
	}

	require.Len(t, w.webhook.received(m.ID.String()), 1, "no second request beside the first")
	release()
	testenv.Eventually(t, func() bool {
		got, err := w.store.Get(t.Context(), m.ID)
		return err == nil && got.Attempts == 1
	}, "what came of the first is recorded")
	testenv.Eventually(t, func() bool {
		w.abandon()
		got, err := w.store.Get(t.Context(), m.ID)
		return err == nil && got.Status == message.Sent
	})
	calls := w.webhook.received(m.ID.String())
	require.Equal(t, []string{"1", "2"}, numbers(calls))
	require.True(t, calls[1].At.After(calls[0].Done))
	w.awaitDeliveries(0)
}

func TestAClaimWhoseOutboxRowIsGoneDoesNotStopThePace(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	w := newPipeline(t, "PROCESSING_INTERVAL", interval.String(), "BATCH_SIZE", "1")
	w.insert(drafts(2)...)
	w.leaveUnpublished()
	w.sql("DELETE FROM outbox")
	gone := time.Now()
	w.runDispatcher()

	w.awaitDeliveries(1)

	require.Greater(t, w.emitted()[0].Time.Sub(gone), db.PublishDeadline+interval, "somebody could have published it until then")
}

func TestAClaimThatCannotBeReadDoesNotStopThePace(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "PROCESSING_INTERVAL", "1s", "BATCH_SIZE", "1")
	w.insert(drafts(2)...)
	w.leaveUnpublished()
	w.sql("UPDATE outbox SET batch = '\\x00', created_at = created_at - interval '2 minutes' WHERE is_claim")
	w.runDispatcher()

	w.awaitDeliveries(1)

	require.Equal(t, 1, w.one("SELECT count(*) FROM outbox WHERE batch = '\\x00' AND NOT is_claim"), "it is kept")
}

func TestABadOutboxRowHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.sql("INSERT INTO outbox (batch, created_at) SELECT '\\x00', now() - interval '1 hour' FROM generate_series(1, 60)")
	id := w.insert(draft())[0]
	w.sql("UPDATE outbox SET created_at = now() - interval '1 hour'")

	w.runDispatcher()

	require.ElementsMatch(t, []message.EventType{message.EventCreated, message.EventQueued}, kinds(w.events(id, 2)),
		"after more bad rows than a batch holds")
	testenv.Eventually(t, func() bool {
		rows, _, err := w.store.OutboxBacklog(t.Context())
		return err == nil && rows == 60
	}, "they stay where they are")
}

func TestAnOutboxRowThatNATSRefusesHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "PROCESSING_INTERVAL", "1h")
	too := events.EncodeOutbox([]events.OutboxMessage{{
		Subject: w.topology.EventSubject(message.EventCreated, "x"), MsgID: "too large", Data: []byte(`"` + strings.Repeat("x", 2<<20) + `"`),
	}})
	w.sql("INSERT INTO outbox (batch, created_at) VALUES ($1, now() - interval '1 hour')", too)
	id := w.insert(draft())[0]
	w.sql("UPDATE outbox SET created_at = now() - interval '1 hour'")

	w.runDispatcher()

	require.ElementsMatch(t, []message.EventType{message.EventCreated, message.EventQueued}, kinds(w.events(id, 2)))
	testenv.Eventually(t, func() bool {
		rows, _, err := w.store.OutboxBacklog(t.Context())
		return err == nil && rows == 1
	})
}
