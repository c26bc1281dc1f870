// Package outcome decides what comes of a delivery: what the message's row
// becomes, which event says so, and what happens to the delivery itself. It does
// no I/O.
package outcome

import (
	"time"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/sender/backpressure"
	"github.com/message-dispatcher/dispatch/services/sender/destination"
)

// Disposition is what happens to a delivery once its outcome is published.
type Disposition int

const (
	// Ack takes the delivery off the queue: the message is at its end.
	Ack Disposition = iota
	// Nak returns the delivery. It comes again after a short wait.
	Nak
	// Reschedule makes a schedule, which brings a new delivery under the next
	// claim after a long wait.
	Reschedule
	// Abandon leaves the delivery to the server: its lease has expired.
	Abandon
)

// Outcome is what comes of a delivery.
type Outcome struct {
	Event       message.EventType
	Message     message.Message // the row as the outcome leaves it
	Report      events.Outcome  // what the recorder needs to know
	Disposition Disposition
}

// Result is what an attempt has shown. Outcome and Error of its Attempt are
// empty: the outcome depends on the attempts before, and the error is the
// judgement's text.
type Result struct {
	message.Attempt
	destination.Judgement
}

// Decider makes outcomes. It is safe for concurrent use.
type Decider struct {
	backoff message.Backoff
	clock   *jetstream.ClockSkew // of Postgres
	naks    *backpressure.NakBudget
}

// NewDecider returns a Decider that retries by a backoff.
func NewDecider(backoff message.Backoff, clock *jetstream.ClockSkew, naks *backpressure.NakBudget) *Decider {
	return &Decider{backoff: backoff, clock: clock, naks: naks}
}

const textExpired = "expired before it was sent"

// Expired is the outcome of a message that has expired before an attempt.
func (d *Decider) Expired(delivery *deliveries.Delivery, row message.Message) Outcome {
	out := transition(delivery, row, message.ExpireInFlight, d.clock.Now())
	out.Message.LastError = textExpired
	return out
}

// Attempted is the outcome of an attempt. The retry budget counts from the
// row's BudgetStart, and only recorded attempts: a sender that dies uses up
// nothing.
func (d *Decider) Attempted(delivery *deliveries.Delivery, row message.Message, r Result) Outcome {
	ended := r.StartedAt.Add(r.Duration)
	used := r.Number - row.BudgetStart
	next := micros(ended.Add(d.backoff.Delay(used, r.RetryAfter)))

	var out Outcome
	var kind string
	switch {
	case r.Class == message.Delivered:
		kind, out = message.OutcomeSuccess, transition(delivery, row, message.Succeed, ended)
		out.Message.SentAt = &out.Message.UpdatedAt
		if r.ExternalID != "" {
			out.Message.ExternalID = r.ExternalID
		}
	case r.Class == message.Refused, d.backoff.Exhausted(used):
		kind, out = message.OutcomeFailure, transition(delivery, row, message.Fail, ended)
	case row.ExpiresAt != nil && !next.Before(*row.ExpiresAt):
		kind, out = message.OutcomeExpired, transition(delivery, row, message.ExpireInFlight, ended)
	default:
		kind, out = message.OutcomeRetry, transition(delivery, row, message.Reschedule, ended)
		out.Message.NextAttemptAt = &next
		out.Disposition = d.dispositionOf(delivery, d.clock.Until(next))
		if out.Disposition == Reschedule {
			out.Message.ClaimNumber++
			out.Report.NextClaimNumber++
		}
	}
	if r.Class != message.Delivered {
		out.Message.LastError = r.Text
	}
	out.Message.Attempts = r.Number
	attempt := r.Attempt
	attempt.StartedAt, attempt.Outcome, attempt.Error = micros(r.StartedAt), kind, r.Text
	out.Report.Attempt = &attempt
	return out
}

// transition begins an outcome: the row after a transition, without an attempt.
func transition(delivery *deliveries.Delivery, row message.Message, to message.Transition, at time.Time) Outcome {
	m := row
	m.Version++
	m.ClaimNumber = delivery.ClaimNumber // the same as the row's, or what the row has yet to learn
	m.Status = to.To
	m.NextAttemptAt = nil
	m.UpdatedAt = micros(at)
	return Outcome{
		Event: to.Event, Message: m,
		Report: events.Outcome{ClaimNumber: row.ClaimNumber, NextClaimNumber: m.ClaimNumber, Delivery: delivery.DeliveryCount},
	}
}

// dispositionOf chooses between a delayed nak and a schedule.
func (d *Decider) dispositionOf(delivery *deliveries.Delivery, wait time.Duration) Disposition {
	switch {
	case delivery.HoldExpired():
		return Abandon
	case d.naks.Take(wait):
		return Nak
	}
	return Reschedule
}

// micros is a time as Postgres stores it.
func micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
