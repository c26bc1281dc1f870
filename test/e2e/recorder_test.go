package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// success is the event that a sender publishes of a claimed message.
func (w *pipeline) success(m message.Message, edits ...func(*events.Outcome)) events.OutboxMessage {
	now := time.Now()
	claim := m.ClaimNumber
	m.Status, m.SentAt, m.Attempts, m.ExternalID = message.Sent, &now, m.Attempts+1, "x-1"
	m.Version++
	outcome := events.Outcome{
		ClaimNumber: claim, NextClaimNumber: claim, Delivery: 1,
		Attempt: &message.Attempt{Number: m.Attempts, StartedAt: now, Outcome: message.OutcomeSuccess, HTTPStatus: 202},
	}
	for _, edit := range edits {
		edit(&outcome)
	}
	return events.NewEventBuilder(w.topology, false).Outcome(message.EventSent, m, outcome)
}

// awaitRecorded waits until the recorder has passed everything.
func (w *pipeline) awaitRecorded() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), waitTimeout)
	defer cancel()
	progress := jetstream.NewRecorderProgress(w.js)
	last, err := progress.LastEvent(ctx)
	require.NoError(w.t, err)
	require.NoError(w.t, progress.AwaitRecorded(ctx, last))
}

func TestAnEventThatComesAgainIsRecordedOnce(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.wire.ignore()
	m := w.claimed(draft())[0]
	again := w.success(m)
	w.publish(again)
	again.MsgID += ".again"
	w.publish(again)

	w.runDispatcher()
	w.awaitRecorded()
	again.MsgID += ".and.again"
	w.publish(again)
	w.awaitRecorded()

	recorded := w.awaitStatus(m.ID, message.Sent)
	require.Equal(t, m.Version+1, recorded.Version)
	require.Equal(t, "x-1", recorded.ExternalID)
	attempts, err := w.store.Attempts(t.Context(), m.ID)
	require.NoError(t, err)
	require.Len(t, attempts, 1)
}

// TestOnlyOutcomesAreWaitedFor: what Postgres has told of by itself is there
// already, whether or not anybody reads it.
func TestOnlyOutcomesAreWaitedFor(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.wire.ignore()
	m := w.claimed(draft())[0]
	builder, progress := events.NewEventBuilder(w.topology, false), jetstream.NewRecorderProgress(w.js)
	others := func() {
		for _, kind := range []message.EventType{message.EventCreated, message.EventQueued, message.EventCancelled} {
			w.publish(builder.Transitions(kind, []message.Message{m})...)
		}
	}
	wait := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		last, err := progress.LastEvent(ctx)
		require.NoError(t, err)
		stream, err := w.js.Stream(ctx, w.topology.EventsStream())
		require.NoError(t, err)
		require.Equal(t, stream.CachedInfo().State.LastSeq, last)
		return progress.AwaitRecorded(ctx, last)
	}
	others()
	require.NoError(t, wait(waitTimeout))

	w.publish(w.success(m))
	others()
	require.ErrorIs(t, wait(moment), context.DeadlineExceeded, "nobody has recorded it")

	w.runDispatcher()
	require.NoError(t, wait(waitTimeout))
	recorded, err := w.store.Get(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, message.Sent, recorded.Status)
	others()
	require.NoError(t, wait(waitTimeout))
}

func TestEventsThatCantBeRecordedHoldUpNoOthers(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.wire.ignore()
	claimed := w.claimed(drafts(9)...)
	broken := w.success(claimed[0])
	broken.Data, broken.MsgID = []byte("no JSON"), "broken"
	w.publish(broken)
	for i, m := range claimed {
		// Postgres takes no NUL, and refuses the batch that it is in.
		w.publish(w.success(m, func(o *events.Outcome) {
			if i == 4 {
				o.Attempt.Outcome = "\x00"
			}
		}))
	}

	w.runDispatcher()

	w.awaitRecorded()
	for i, m := range claimed {
		recorded, err := w.store.Get(t.Context(), m.ID)
		require.NoError(t, err)
		require.Equal(t, i != 4, recorded.Status == message.Sent, "message %d", i)
	}
}

func TestOutcomesAreKeptWhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "PROCESSING_INTERVAL", "1h")
	postgres := w.viaProxy("DATABASE_URL")
	w.runDispatcher("DATABASE_URL", postgres.URL)
	w.awaitControl()
	w.awaitRecorded()
	claimed := w.claimed1h(3)

	postgres.Cut()
	for _, m := range claimed {
		w.publish(w.success(m))
	}
	consumer, err := w.js.Consumer(t.Context(), w.topology.EventsStream(), events.RecorderConsumer)
	require.NoError(t, err)
	// Longer than the ack wait: without signs of life they would be delivered again.
	require.Never(t, func() bool {
		info, err := consumer.Info(t.Context())
		return err != nil || info.NumRedelivered > 0
	}, 17*time.Second, 100*time.Millisecond)
	postgres.Heal()

	w.awaitRecorded()
	for _, m := range claimed {
		require.Equal(t, message.Sent, w.awaitStatus(m.ID, message.Sent).Status)
	}
}

// claimed1h stores messages and claims them although no tick is due.
func (w *pipeline) claimed1h(n int) []message.Message {
	w.t.Helper()
	ids := w.insert(drafts(n)...)
	w.sql("UPDATE messages SET status = 'QUEUED', claim_number = 1, version = 2, lease_until = now() + interval '1 hour'")
	claimed := make([]message.Message, len(ids))
	for i, id := range ids {
		m, err := w.store.Get(w.t.Context(), id)
		require.NoError(w.t, err)
		claimed[i] = m
	}
	return claimed
}
