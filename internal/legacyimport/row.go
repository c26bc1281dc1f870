package legacyimport

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/message-dispatcher/dispatch/internal/cli/input"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// What is kept of texts from elsewhere.
const (
	keptExternalID = 255
	keptError      = 1024
)

// sourceStatus is what the words of the original and its kind mean here; a
// boolean column that says whether a message was sent is read the same way.
var sourceStatus = map[string]message.Status{
	"PENDING": message.Pending, "UNSENT": message.Pending, "QUEUED": message.Pending, "WAITING": message.Pending,
	"NEW": message.Pending, "CREATED": message.Pending, "FALSE": message.Pending,
	"SENT": message.Sent, "SUCCESS": message.Sent, "DELIVERED": message.Sent, "COMPLETED": message.Sent, "TRUE": message.Sent,
	"FAILED": message.Failed, "FAILURE": message.Failed, "ERROR": message.Failed,
}

// inHand are states of a message that may be on its way at this moment.
var inHand = map[string]bool{"PROCESSING": true, "SENDING": true, "IN_PROGRESS": true, "RETRYING": true}

// rowReader makes messages of rows.
type rowReader struct {
	scope, table string
	numbers      input.PhoneNumbers
	rules        message.Rules
}

// Read returns the message that a row is, or every mistake in it. The id is
// made of the row alone, so that a repeat makes the same.
func (r rowReader) read(row sourceRow) (message.Message, []message.FieldError) {
	var mistakes []message.FieldError
	wrong := func(field, code, text string) {
		mistakes = append(mistakes, message.FieldError{Field: field, Code: code, Message: text})
	}
	if row.checkText(wrong); len(mistakes) > 0 {
		return message.Message{}, mistakes // the rest would be about something else
	}
	body, err := r.body(row)
	if err != nil {
		wrong("to", message.CodeInvalidPhoneNumber, err.Error())
		return message.Message{}, mistakes
	}
	request, err := r.rules.Parse(body, time.Now())
	var invalid *message.ValidationError
	var malformed *message.MalformedError
	switch {
	case errors.As(err, &invalid):
		mistakes = append(mistakes, invalid.Errors...)
	case errors.As(err, &malformed):
		wrong("", message.CodeInvalidFormat, message.WithSubject("the row", malformed).Error())
	}
	created := row.createdAt.Time.UTC()
	if at := row.createdAt; !at.Valid || at.InfinityModifier != pgtype.Finite || created.Year() < 1970 || created.Year() > 9999 {
		wrong("createdAt", message.CodeOutOfRange, "must be a time in the years 1970 to 9999")
	}
	status := r.status(row, wrong)
	if row.attempts != nil && (*row.attempts < 0 || *row.attempts > math.MaxInt32) {
		wrong("attempts", message.CodeOutOfRange, fmt.Sprintf("must be from 0 to %d", math.MaxInt32))
	}
	if len(mistakes) > 0 {
		return message.Message{}, mistakes
	}
	m := request.Message(message.DerivedID(created, 0, r.scope+" "+row.id), r.scope)
	m.Status = status
	m.CreatedAt, m.DeliverAt = m.ID.Time(), m.ID.Time() // to a quarter of a microsecond: a range of times is one of ids
	m.UpdatedAt = finite(row.updatedAt, created)
	if row.attempts != nil {
		m.Attempts = int(*row.attempts)
	}
	m.ExternalID = cut(row.externalID, keptExternalID)
	m.LastError = cut(row.lastError, keptError)
	if status == message.Sent {
		at := finite(row.sentAt, m.UpdatedAt)
		m.SentAt = &at
	}
	if status == message.Failed {
		m.LastError = cmp.Or(m.LastError, "failed before it was imported")
	}
	return m, nil
}

// Body is the row as a request. What is NULL is left out, so that it is told
// as missing. A number in the international form but for its + is one, since the
// original took both, unless the flags say whose numbers they are.
func (r rowReader) body(row sourceRow) ([]byte, error) {
	body := map[string]any{
		"idempotencyKey": row.id,
		"metadata":       map[string]string{"importedFrom": r.table, "importedId": row.id},
	}
	if row.to != nil {
		to, err := r.numbers.Read(strings.TrimSpace(*row.to))
		if err != nil {
			return nil, err
		}
		if r.rules.Destinations[message.DefaultDestination] == message.RecipientPhone && to != "" && to[0] >= '1' && to[0] <= '9' {
			to = "+" + to
		}
		body["to"] = to
	}
	if row.content != nil {
		body["content"] = *row.content
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("import: strings are valid JSON: %v", err))
	}
	return text, nil
}

// checkText finds what is not UTF-8: a database whose encoding is SQL_ASCII holds
// whatever it was given. JSON would have it replaced.
func (row sourceRow) checkText(wrong func(field, code, text string)) {
	for _, f := range []struct {
		name string
		text *string
	}{{"id", &row.id}, {"to", row.to}, {"content", row.content}, {"externalId", row.externalID}, {"lastError", row.lastError}} {
		if f.text == nil {
			continue
		}
		if at := input.InvalidUTF8(*f.text); at >= 0 {
			wrong(f.name, message.CodeInvalidFormat, fmt.Sprintf("is not UTF-8: byte %d is 0x%02X", at+1, (*f.text)[at]))
		}
	}
}

func (r rowReader) status(row sourceRow, wrong func(field, code, text string)) message.Status {
	sentAt := row.sentAt.Valid
	if row.status == nil {
		if sentAt {
			return message.Sent
		}
		return message.Pending
	}
	word := strings.ToUpper(strings.TrimSpace(*row.status))
	status, known := sourceStatus[word]
	switch {
	case inHand[word]:
		wrong("status", message.CodeConflict, fmt.Sprintf("is %q: it may be on its way; stop the original, see what became of it, and import again", *row.status))
	case !known:
		wrong("status", message.CodeOutOfRange, fmt.Sprintf("is %q, and must be PENDING, SENT or FAILED, or a word for one of them", *row.status))
	case status == message.Pending && (sentAt || row.externalID != nil && *row.externalID != ""):
		wrong("status", message.CodeConflict, fmt.Sprintf("is %q, but there is a sentAt or an externalId: it may have been sent", *row.status))
	}
	return status
}

// finite is a time, or another one for what is none.
func finite(t pgtype.Timestamptz, otherwise time.Time) time.Time {
	at := t.Time.UTC()
	if !t.Valid || t.InfinityModifier != pgtype.Finite || at.Year() < 1 || at.Year() > 9999 {
		return otherwise
	}
	return at
}

// cut returns at most so many bytes of a text, without half a character.
func cut(text *string, limit int) string {
	if text == nil {
		return ""
	}
	short := *text
	if len(short) > limit {
		short = short[:limit]
		for !utf8.ValidString(short) {
			short = short[:len(short)-1]
		}
	}
	return short
}
