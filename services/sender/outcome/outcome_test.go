package outcome

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/sender/backpressure"
	"github.com/message-dispatcher/dispatch/services/sender/destination"
)

// idle is a queue on which nothing is unacknowledged.
type idle struct{}

func (idle) Unacked(context.Context) (int, error) { return 0, nil }

// deciding returns a Decider, a delivery and the row of its message.
func deciding(t *testing.T, edits ...func(*message.Message)) (*Decider, *deliveries.Delivery, message.Message) {
	t.Helper()
	naks := backpressure.NewNakBudget(idle{})
	naks.Ask(t.Context())
	d := NewDecider(message.Backoff{Base: time.Second, Factor: 10, Max: time.Hour, MaxRetries: 2}, new(jetstream.ClockSkew), naks)
	delivery := &deliveries.Delivery{ID: message.NewID(time.Now()), ClaimNumber: 7, DeliveryCount: 1, First: true}
	row := message.Message{ID: delivery.ID, To: "+905551111111", Content: "x", ClaimNumber: 7, Version: 4, Status: message.Queued}
	for _, edit := range edits {
		edit(&row)
	}
	return d, delivery, row
}

// result is that of the nth attempt.
func result(n int, r Result) Result {
	r.Number = n
	return r
}

func TestAnOutcomeIsTheRowAsItLeavesIt(t *testing.T) {
	t.Parallel()
	started := time.Now()
	failed := Result{
		Attempt:   message.Attempt{HTTPStatus: 503, StartedAt: started, Duration: time.Millisecond},
		Judgement: destination.Judgement{Class: message.Retryable, Text: "status 503"},
	}

	d, delivery, row := deciding(t)
	sent := Result{Attempt: message.Attempt{HTTPStatus: 200, StartedAt: started}, Judgement: destination.Judgement{ExternalID: "x"}}
	out := d.Attempted(delivery, row, result(1, sent))
	require.Equal(t, message.EventSent, out.Event)
	require.Equal(t, Ack, out.Disposition)
	require.EqualValues(t, 5, out.Message.Version)
	require.Equal(t, 1, out.Message.Attempts)
	require.Equal(t, "x", out.Message.ExternalID)
	require.Equal(t, micros(started), *out.Message.SentAt)

	out = d.Attempted(delivery, row, result(1, failed))
	require.Equal(t, message.EventAttempted, out.Event)
	require.Equal(t, message.Retrying, out.Message.Status)
	require.Equal(t, Nak, out.Disposition)
	require.Equal(t, delivery.ClaimNumber, out.Report.NextClaimNumber, "a nak keeps the claim")
	require.Equal(t, "status 503", out.Message.LastError)

	out = d.Attempted(delivery, row, result(2, failed))
	require.WithinRange(t, *out.Message.NextAttemptAt, started.Add(5*time.Second), started.Add(11*time.Second))

	failed.RetryAfter = 30 * time.Second
	out = d.Attempted(delivery, row, result(1, failed))
	require.Equal(t, Reschedule, out.Disposition)
	require.Equal(t, delivery.ClaimNumber+1, out.Report.NextClaimNumber, "a schedule has the next")
	require.Equal(t, delivery.ClaimNumber+1, out.Message.ClaimNumber)
	require.Equal(t, delivery.ClaimNumber, out.Report.ClaimNumber)

	out = d.Attempted(delivery, row, result(3, failed))
	require.Equal(t, message.EventFailed, out.Event, "the budget is used up")
	require.Equal(t, Ack, out.Disposition)
	require.Equal(t, message.OutcomeFailure, out.Report.Attempt.Outcome)

	d, delivery, row = deciding(t, func(m *message.Message) { m.BudgetStart, m.Attempts = 3, 3 })
	require.Equal(t, message.EventAttempted, d.Attempted(delivery, row, result(4, failed)).Event, "a redrive has a new budget")

	soon := started.Add(20 * time.Second)
	d, delivery, row = deciding(t, func(m *message.Message) { m.ExpiresAt = &soon })
	out = d.Attempted(delivery, row, result(1, failed))
	require.Equal(t, message.EventExpired, out.Event)
	require.Equal(t, message.OutcomeExpired, out.Report.Attempt.Outcome)
	out = d.Expired(delivery, row)
	require.Nil(t, out.Report.Attempt)
	require.Zero(t, out.Message.Attempts)
}

func TestAShortWaitIsANakIfOneIsLeft(t *testing.T) {
	t.Parallel()
	d, delivery, _ := deciding(t)
	require.Equal(t, Reschedule, d.dispositionOf(delivery, time.Minute))
	require.Equal(t, Nak, d.dispositionOf(delivery, backpressure.ShortWait))
	d.naks = backpressure.NewNakBudget(idle{}) // which was not asked yet
	require.Equal(t, Reschedule, d.dispositionOf(delivery, backpressure.ShortWait))
}

// A claim that was never recorded raises the row, so that older deliveries are
// fenced off from then on.
func TestAClaimThatTheRowDoesNotKnowIsReported(t *testing.T) {
	t.Parallel()
	d, delivery, row := deciding(t, func(m *message.Message) { m.ClaimNumber -= 2 })
	failed := Result{
		Attempt:   message.Attempt{Number: 1, StartedAt: time.Now()},
		Judgement: destination.Judgement{Class: message.Retryable, Text: "status 500"},
	}
	out := d.Attempted(delivery, row, failed)
	require.Equal(t, row.ClaimNumber, out.Report.ClaimNumber, "the recorder's guard")
	require.Equal(t, delivery.ClaimNumber, out.Report.NextClaimNumber)
}
