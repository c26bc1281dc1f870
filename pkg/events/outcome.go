package events

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// OutcomeEvent is the part of a sender's event that is recorded.
type OutcomeEvent struct {
	Kind          message.EventType
	ID            message.ID
	Version       int64
	Attempts      int
	EndedAt       time.Time // when the message was sent, or else when the outcome was known
	NextAttemptAt time.Time // zero: there is none
	ExternalID    string
	LastError     string
	Outcome       Outcome
}

// ParseOutcome parses an event that Builder.Finished has made. It fails if the
// event contains no outcome. It decodes only what is recorded, with a decoder
// that needs a quarter of encoding/json's time, because every message passes
// here once.
func ParseOutcome(data []byte) (OutcomeEvent, error) {
	var event outcomeJSON
	if err := json.Unmarshal(data, &event); err != nil {
		return OutcomeEvent{}, fmt.Errorf("parse event: %w", err)
	}
	version, err := strconv.ParseInt(event.Sequence, 10, 64)
	if err != nil {
		return OutcomeEvent{}, fmt.Errorf("parse sequence: %w", err)
	}
	result := event.Data.Outcome
	switch {
	case result == nil:
		return OutcomeEvent{}, errors.New("the event has no outcome")
	case event.Data.ID == (message.ID{}):
		return OutcomeEvent{}, errors.New("the event has no message")
	}
	outcome := OutcomeEvent{
		Kind:       message.EventType(event.Type[strings.LastIndexByte(event.Type, '.')+1:]),
		ID:         event.Data.ID,
		Version:    version,
		Attempts:   event.Data.Attempts,
		EndedAt:    event.Time,
		ExternalID: event.Data.ExternalID,
		LastError:  event.Data.LastError,
		Outcome: Outcome{
			ClaimNumber: result.Claim, NextClaimNumber: result.NextClaim, Delivery: result.Delivery, Attempt: result.Attempt.attempt(),
		},
	}
	if event.Data.SentAt != nil {
		outcome.EndedAt = *event.Data.SentAt
	}
	if event.Data.NextAttemptAt != nil {
		outcome.NextAttemptAt = *event.Data.NextAttemptAt
	}
	return outcome, nil
}

// outcomeJSON is the part of an Event that an OutcomeEvent is made from. Its
// names are those of Event.
type outcomeJSON struct {
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
			Attempt   *attemptJSON        `json:"attempt"`
		} `json:"outcome"`
	} `json:"data"`
}

type attemptJSON struct {
	Number     int       `json:"number"`
	StartedAt  time.Time `json:"startedAt"`
	DurationMs float64   `json:"durationMs"`
	Outcome    string    `json:"outcome"`
	HTTPStatus int       `json:"httpStatus"`
	Error      string    `json:"error"`
	Response   string    `json:"response"`
	Unsent     bool      `json:"unsent"`
}

func (a *attemptJSON) attempt() *message.Attempt {
	if a == nil {
		return nil
	}
	return &message.Attempt{
		Number: a.Number, StartedAt: a.StartedAt, Duration: time.Duration(math.Round(a.DurationMs*1000)) * time.Microsecond,
		Outcome: a.Outcome, HTTPStatus: a.HTTPStatus, Error: a.Error, Response: a.Response, Unsent: a.Unsent,
	}
}
