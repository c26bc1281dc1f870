package recorder

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
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

// outcomeEvent is the part of an event that is recorded. The rest is not
// decoded. The names are those of events.Event.
type outcomeEvent struct {
	Type     string    `json:"type"`
	Time     time.Time `json:"time"`
	Sequence string    `json:"sequence"`
	Data     struct {
		ID            message.ID `json:"id"`
		Attempts      int        `json:"attempts"`
		LastError     string     `json:"lastError"`
		NextAttemptAt *time.Time `json:"nextAttemptAt"`
		ExternalID    string     `json:"externalId"`
		SentAt        *time.Time `json:"sentAt"`
		Outcome       *struct {
			Claim     message.ClaimNumber `json:"claim"`
			NextClaim message.ClaimNumber `json:"nextClaim"`
			Delivery  int                 `json:"delivery"`
			Attempt   *attemptRecord      `json:"attempt"`
		} `json:"outcome"`
	} `json:"data"`
}

type attemptRecord struct {
	Number     int       `json:"number"`
	StartedAt  time.Time `json:"startedAt"`
	DurationMs float64   `json:"durationMs"`
	Outcome    string    `json:"outcome"`
	HTTPStatus int       `json:"httpStatus"`
	Error      string    `json:"error"`
	Response   string    `json:"response"`
	Unsent     bool      `json:"unsent"`
}

func (a *attemptRecord) attempt() *message.Attempt {
	if a == nil {
		return nil
	}
	return &message.Attempt{
		Number: a.Number, StartedAt: a.StartedAt, Duration: time.Duration(math.Round(a.DurationMs*1000)) * time.Microsecond,
		Outcome: a.Outcome, HTTPStatus: a.HTTPStatus, Error: a.Error, Response: a.Response, Unsent: a.Unsent,
	}
}

// parseOutcome parses an event that a sender published. Every message passes
// here once, so the decoder is one that needs a quarter of encoding/json's time.
func parseOutcome(data []byte) (db.Outcome, error) {
	var event outcomeEvent
	if err := json.Unmarshal(data, &event); err != nil {
		return db.Outcome{}, fmt.Errorf("read event: %w", err)
	}
	kind := event.Type[strings.LastIndexByte(event.Type, '.')+1:]
	transition, known := transitions[message.EventType(kind)]
	if !known {
		return db.Outcome{}, fmt.Errorf("event type %q is not one of an outcome", event.Type)
	}
	version, err := strconv.ParseInt(event.Sequence, 10, 64)
	if err != nil {
		return db.Outcome{}, fmt.Errorf("read sequence: %w", err)
	}
	result := event.Data.Outcome
	switch {
	case result == nil:
		return db.Outcome{}, errors.New("the event has no outcome")
	case event.Data.ID == (message.ID{}):
		return db.Outcome{}, errors.New("the event has no message")
	case transition.Name == message.Reschedule.Name && event.Data.NextAttemptAt == nil:
		return db.Outcome{}, errors.New("the event has no next attempt")
	}
	outcome := db.Outcome{
		ID:              event.Data.ID,
		Transition:      transition,
		Version:         version,
		ClaimNumber:     result.Claim,
		NextClaimNumber: max(result.Claim, result.NextClaim),
		DeliveryCount:   result.Delivery,
		Attempts:        event.Data.Attempts,
		Attempt:         result.Attempt.attempt(),
		EndedAt:         event.Time,
		ExternalID:      event.Data.ExternalID,
		Error:           event.Data.LastError,
	}
	if event.Data.SentAt != nil {
		outcome.EndedAt = *event.Data.SentAt
	}
	if event.Data.NextAttemptAt != nil {
		outcome.NextAttemptAt = *event.Data.NextAttemptAt
	}
	return outcome, nil
}
