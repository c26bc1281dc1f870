package dispatcher

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// outcomeMoves are the moves that an outcome can make, by the last word of
// its event's type.
var outcomeMoves = map[message.EventType]message.Move{
	message.Succeed.Event: message.Succeed,
	message.Defer.Event:   message.Defer,
	message.Fail.Event:    message.Fail,
	message.Lapse.Event:   message.Lapse,
}

// outcomeOf reads a sender's status event.
func outcomeOf(data []byte) (db.Outcome, error) {
	var event events.Event
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
	case move.Name == message.Defer.Name && event.Data.NextAttemptAt == nil:
		return db.Outcome{}, errors.New("the event has no next attempt")
	}
	outcome := db.Outcome{
		ID:         event.Data.ID,
		Move:       move,
		Version:    version,
		Claim:      told.Claim,
		NextClaim:  max(told.Claim, told.NextClaim),
		Delivery:   told.Delivery,
		Attempts:   event.Data.Attempts,
		Attempt:    told.Attempt,
		EndedAt:    event.Time,
		ExternalID: event.Data.ExternalID,
		Error:      event.Data.LastError,
	}
	if event.Data.SentAt != nil {
		outcome.EndedAt = *event.Data.SentAt
	}
	if event.Data.NextAttemptAt != nil {
		outcome.NextAttemptAt = *event.Data.NextAttemptAt
	}
	return outcome, nil
}
