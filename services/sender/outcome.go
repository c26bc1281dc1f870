package sender

import (
	"time"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// ending is what happens to the copy once its outcome is told.
type ending int

const (
	// taken off the queue: the message is at its end.
	take ending = iota
	// nak: the same copy comes again after a short wait.
	nak
	// park: a schedule brings a new copy, under the next claim, after a long
	// wait.
	park
	// leave: the hold has lapsed, and the copy is the server's to deliver.
	leave
)

// outcome is what came of a copy.
type outcome struct {
	kind    message.EventType
	message message.Message // as the outcome leaves the row
	told    events.Outcome
	then    ending
}

const errorExpired = "expired before it was sent"

// expired is the outcome of a message whose time is over before an attempt.
func (s *sender) expired(it *item, now time.Time) outcome {
	out := s.outcome(it, message.ExpireInFlight, now)
	out.message.LastError = errorExpired
	return out
}

// outcome begins an outcome: the row after a move, without an attempt.
func (s *sender) outcome(it *item, move message.Transition, at time.Time) outcome {
	m := it.row
	m.Version++
	m.ClaimNumber = it.Claim // the same as the row's, or what the row has yet to learn
	m.Status = move.To
	m.NextAttemptAt = nil
	m.UpdatedAt = micros(at)
	return outcome{
		kind: move.Event, message: m,
		told: events.Outcome{Claim: it.row.ClaimNumber, NextClaim: m.ClaimNumber, Delivery: it.Delivery},
	}
}

// attempted is the outcome of an attempt. The budget counts from the row's
// BudgetStart, and only what is recorded: a sender that dies uses up nothing.
func (s *sender) attempted(it *item, number int, a answer) outcome {
	ended := a.started.Add(a.took)
	used := number - it.row.BudgetStart
	next := micros(ended.Add(s.backoff.Delay(used, a.retryAfter)))

	var out outcome
	var how string
	switch {
	case a.verdict == succeeded:
		how, out = message.OutcomeSuccess, s.outcome(it, message.Succeed, ended)
		out.message.SentAt = &out.message.UpdatedAt
		if a.externalID != "" {
			out.message.ExternalID = a.externalID
		}
	case a.verdict == refused, s.backoff.Exhausted(used):
		how, out = message.OutcomeFailure, s.outcome(it, message.Fail, ended)
	case it.row.ExpiresAt != nil && !next.Before(*it.row.ExpiresAt):
		how, out = message.OutcomeExpired, s.outcome(it, message.ExpireInFlight, ended)
	default:
		how, out = message.OutcomeRetry, s.outcome(it, message.Reschedule, ended)
		out.message.NextAttemptAt = &next
		out.then = s.howToWait(it, s.clock.Until(next))
		if out.then == park {
			out.message.ClaimNumber++
			out.told.NextClaim++
		}
	}
	if a.verdict != succeeded {
		out.message.LastError = a.text
	}
	out.message.Attempts = number
	out.told.Attempt = &message.Attempt{
		Number: number, StartedAt: micros(a.started), Duration: a.took, Outcome: how,
		HTTPStatus: a.status, Error: a.text, Response: a.response, Unsent: a.unreached,
	}
	return out
}

// howToWait chooses between a delayed nak and a schedule.
func (s *sender) howToWait(it *item, wait time.Duration) ending {
	switch {
	case it.Lapsed():
		return leave
	case s.naks.take(wait):
		return nak
	}
	return park
}

// micros is a time as Postgres keeps it.
func micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
