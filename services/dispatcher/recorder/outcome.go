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

// outcomeMoves are the moves that an outcome can make, by the last word of
// its event's type.
var outcomeMoves = map[message.EventType]message.Transition{
	message.Succeed.Event:        message.Succeed,
	message.Reschedule.Event:     message.Reschedule,
	message.Fail.Event:           message.Fail,
	message.ExpireInFlight.Event: message.ExpireInFlight,
}

// outcomeEvent is the part of a status event that is recorded; its names are
// those of events.Event. What else an event tells is not decoded.
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

// outcomeOf reads a sender's status event. Every message passes here once, so
// that it is read by a decoder that takes a quarter of encoding/json's time.
func outcomeOf(data []byte) (db.Outcome, error) {
	var event outcomeEvent
	if err := json.Unmarshal(data, &event); err != nil {
		return db.Outcome{}, fmt.Errorf("read event: %w", err)
	}
	kind := event.Type[strings.LastIndexByte(event.Type, '.')+1:]
	move, known := outcomeMoves[message.EventType(kind)]
	if !known {
		return db.Outcome{}, fmt.Errorf("event type %q is not that of an outcome", event.Type)
	}
	version, err := strconv.ParseInt(event.Sequence, 10, 64)
	if err != nil {
		return db.Outcome{}, fmt.Errorf("read sequence: %w", err)
	}
	told := event.Data.Outcome
	switch {
	case told == nil:
		return db.Outcome{}, errors.New("the event has no outcome")
	case event.Data.ID == (message.ID{}):
		return db.Outcome{}, errors.New("the event has no message")
	case move.Name == message.Reschedule.Name && event.Data.NextAttemptAt == nil:
		return db.Outcome{}, errors.New("the event has no next attempt")
	}
	outcome := db.Outcome{
		ID:              event.Data.ID,
		Transition:      move,
		Version:         version,
		ClaimNumber:     told.Claim,
		NextClaimNumber: max(told.Claim, told.NextClaim),
		DeliveryCount:   told.Delivery,
		Attempts:        event.Data.Attempts,
		Attempt:         told.Attempt.attempt(),
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

// OutcomeKinds are the kinds of events that may tell of an outcome.
func OutcomeKinds() []message.EventType {
	return []message.EventType{message.EventAttempted, message.EventSent, message.EventFailed, message.EventExpired}
}

// Outcomes returns the outcomes that events up to a sequence tell, and the
// sequence of the last event. What can't be read was left out by the recorder.
func Outcomes(batch []natsjs.Msg, to uint64) (outcomes []db.Outcome, last uint64) {
	for _, msg := range batch {
		meta, err := msg.Metadata()
		if err != nil {
			continue
		}
		last = meta.Sequence.Stream
		if last > to || msg.Headers().Get(events.HeaderOutcome) == "" {
			continue
		}
		if outcome, err := outcomeOf(msg.Data()); err == nil {
			outcomes = append(outcomes, outcome)
		}
	}
	return outcomes, last
}
