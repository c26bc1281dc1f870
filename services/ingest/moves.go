package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Cancel calls a message back.
func (u *useCases) Cancel(ctx context.Context, id message.ID) (message.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	began := time.Now()
	var entries []events.Entry
	m, outboxID, err := u.store.Cancel(ctx, id, func(moved []message.Message) []byte {
		entries = u.composer.Moved(message.EventCancelled, moved)
		return events.Encode(entries)
	})
	if err != nil {
		return message.Message{}, err
	}
	failpoint.At(failpoint.CancelStored)
	u.announce(committed{outboxID: outboxID, entries: entries, began: began})
	if m.ClaimNumber > 0 {
		u.unpark(m)
	}
	return m, nil
}

// Retry brings a message back that is FAILED, CANCELLED or EXPIRED, with a
// new expiry or none.
func (u *useCases) Retry(ctx context.Context, id message.ID, expiresAt *time.Time) (message.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	m, err := u.store.Redrive(ctx, id, expiresAt)
	failpoint.At(failpoint.RedriveStored)
	if err == nil {
		u.wake()
		u.recache([]message.ID{id})
	}
	return m, err
}

// readRetry reads the body of a retry: nothing, or {"expiresAt":…}.
func readRetry(body []byte, now time.Time) (expiresAt *time.Time, err error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil //nolint:nilnil // there is none, and nothing wrong with that
	}
	fields, repeated, err := readFields(body)
	if err != nil {
		return nil, err
	}
	return readExpiresAt(fields, repeated, now)
}

// readExpiresAt reads the fields of a retry, and adds to the mistakes that
// are known already.
func readExpiresAt(fields []bodyField, mistakes []message.FieldError, now time.Time) (expiresAt *time.Time, err error) {
	for _, f := range fields {
		switch {
		case f.name != "expiresAt":
			mistakes = append(mistakes, message.FieldError{Field: shortened(f.name), Code: message.CodeUnknownField, Message: "is not a field of this request; expiresAt is"})
		case string(f.value) != "null":
			at, mistake := readExpiry(f.value, now)
			expiresAt, mistakes = at, append(mistakes, mistake...)
		}
	}
	if mistakes = atMost(mistakes); len(mistakes) > 0 {
		return nil, &message.ValidationError{Errors: mistakes}
	}
	return expiresAt, nil
}

// readExpiry reads a time in the future.
func readExpiry(value json.RawMessage, now time.Time) (*time.Time, []message.FieldError) {
	wrong := func(code, text string) (*time.Time, []message.FieldError) {
		return nil, []message.FieldError{{Field: "expiresAt", Code: code, Message: text}}
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		return wrong(message.CodeWrongType, "must be a string")
	}
	at, err := message.ParseTime(text)
	switch {
	case err != nil:
		return wrong(timeCode(err), err.Error())
	case !at.After(now):
		return wrong(message.CodeOutOfRange, "must be in the future")
	}
	return &at, nil
}
