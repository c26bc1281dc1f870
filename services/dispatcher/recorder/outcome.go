package recorder

import (
	"fmt"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// transitions are the transitions that an outcome can make, by the last word of
// its event's type.
var transitions = map[message.EventType]message.Transition{
	message.Succeed.Event:        message.Succeed,
	message.Reschedule.Event:     message.Reschedule,
	message.Fail.Event:           message.Fail,
	message.ExpireInFlight.Event: message.ExpireInFlight,
}

// OutcomeKinds returns the kinds of events that may contain an outcome.
func OutcomeKinds() []message.EventType {
	return []message.EventType{message.EventAttempted, message.EventSent, message.EventFailed, message.EventExpired}
}

// Outcomes returns the outcomes in those events of a batch that are not after
// upTo, a sequence of EVENTS, and the sequence of the last event. It skips what
// cannot be parsed, because the recorder has skipped it too.
func Outcomes(batch []natsjs.Msg, upTo uint64) (outcomes []db.Outcome, last uint64) {
	for _, msg := range batch {
		meta, err := msg.Metadata()
		if err != nil {
			continue
		}
		if last = meta.Sequence.Stream; last > upTo {
			continue
		}
		if outcome, found, err := outcomeOf(msg); found && err == nil {
			outcomes = append(outcomes, outcome)
		}
	}
	return outcomes, last
}

// outcomeOf returns the outcome in an event of EVENTS, if there is one.
func outcomeOf(msg natsjs.Msg) (outcome db.Outcome, found bool, err error) {
	if msg.Headers().Get(events.HeaderOutcome) == "" {
		return db.Outcome{}, false, nil
	}
	outcome, err = parseOutcome(msg.Data())
	return outcome, err == nil, err
}

// parseOutcome parses an event that a sender published.
func parseOutcome(data []byte) (db.Outcome, error) {
	event, err := events.ParseOutcome(data)
	if err != nil {
		return db.Outcome{}, err
	}
	transition, known := transitions[event.Kind]
	if !known {
		return db.Outcome{}, fmt.Errorf("an event of kind %q has no outcome", event.Kind)
	}
	if transition.Name == message.Reschedule.Name && event.NextAttemptAt.IsZero() {
		return db.Outcome{}, fmt.Errorf("the outcome of %s has no next attempt", event.ID)
	}
	return db.Outcome{
		ID:              event.ID,
		Transition:      transition,
		Version:         event.Version,
		ClaimNumber:     event.Outcome.ClaimNumber,
		NextClaimNumber: max(event.Outcome.ClaimNumber, event.Outcome.NextClaimNumber),
		DeliveryCount:   event.Outcome.Delivery,
		Attempts:        event.Attempts,
		Attempt:         event.Outcome.Attempt,
		EndedAt:         event.EndedAt,
		NextAttemptAt:   event.NextAttemptAt,
		ExternalID:      event.ExternalID,
		Error:           event.LastError,
	}, nil
}
