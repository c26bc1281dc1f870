package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// deferral is the event of a sender that parks a message until next, and the
// row that it leaves.
func (w *pipeline) deferral(m message.Message, next time.Time) (events.OutboxMessage, message.Message) {
	next = next.UTC().Truncate(time.Microsecond)
	told := events.Outcome{
		ClaimNumber: m.ClaimNumber, NextClaimNumber: m.ClaimNumber + 1, Delivery: 1,
		Attempt: &message.Attempt{Number: 1, StartedAt: time.Now(), Outcome: message.OutcomeRetry, HTTPStatus: http.StatusServiceUnavailable, Error: "status 503"},
	}
	m.Status, m.Attempts, m.LastError, m.NextAttemptAt = message.Retrying, 1, "status 503", &next
	m.Version++
	m.ClaimNumber++
	return events.NewEventBuilder(w.topology, false).Outcome(message.EventAttempted, m, told), m
}

// A sender that dies after it published a retry and before it parked it leaves
// a copy of the old claim. The next one parks it; the lease, five minutes
// after the retry was due, is not needed.
func TestARetryWhoseSenderDiedBeforeParkingItIsParkedByTheNext(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]time.Duration{"before it is due": 3 * time.Second, "when it is long due": -time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newPipeline(t)
			m := w.claimed(draft())[0]
			w.emit(events.OriginTick, m)
			next := time.Now().Add(wait)
			told, _ := w.deferral(m, next)
			w.publish(told)
			w.runDispatcher()

			w.runSender()

			sent := w.awaitStatus(m.ID, message.Sent)
			require.Equal(t, 2, sent.Attempts)
			require.Equal(t, m.ClaimNumber+1, sent.ClaimNumber)
			calls := w.webhook.received("")
			require.Len(t, calls, 1)
			require.False(t, calls[0].At.Before(next), "not before it is due")
			w.requireNothingLeft()
		})
	}
}

// A copy of the old claim whose retry is parked, or has come back already, is
// worth nothing.
func TestARetryThatIsParkedIsNotParkedAgain(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	m := w.claimed(draft())[0]
	w.emit(events.OriginTick, m)
	told, parked := w.deferral(m, time.Now().Add(time.Hour))
	schedule := events.NewEventBuilder(w.topology, false).ScheduledRetry(parked)
	schedule.MsgID += ".before" // so long ago that the stream has forgotten it
	w.publish(told, schedule)
	first := w.awaitOn(schedule.Subject)
	w.runDispatcher()

	w.runSender()

	w.awaitDeliveries(1)
	require.Equal(t, first.Sequence, w.awaitOn(schedule.Subject).Sequence)
	require.Empty(t, w.webhook.received(""))
}

// A cancel removes the schedule after its commit. By then the message may have
// been brought back, sent, failed and parked again.
func TestALateCancelLeavesTheScheduleOfALaterClaim(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	m := w.claimed(draft())[0]
	_, parked := w.deferral(m, time.Now().Add(time.Hour))
	schedule := events.NewEventBuilder(w.topology, false).ScheduledRetry(parked)
	w.publish(schedule)
	again := w.awaitOn(schedule.Subject)

	require.NoError(t, deliveries.RemoveScheduledRetry(t.Context(), w.js, m), "of the claim before")
	require.Equal(t, again.Sequence, w.awaitOn(schedule.Subject).Sequence)

	for range 2 { // the second finds none
		require.NoError(t, deliveries.RemoveScheduledRetry(t.Context(), w.js, parked))
		require.Zero(t, w.parked())
	}
}
