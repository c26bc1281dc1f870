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

// Limits of texts in bytes. Longer ones are cut.
const (
	keptExternalID = 255
	keptError      = 1024
)

// sourceStatus maps the states of the original and of similar programs. It covers
// a boolean column that says whether a message was sent.
var sourceStatus = map[string]message.Status{
	"PENDING": message.Pending, "UNSENT": message.Pending, "QUEUED": message.Pending, "WAITING": message.Pending,
	"NEW": message.Pending, "CREATED": message.Pending, "FALSE": message.Pending,
	"SENT": message.Sent, "SUCCESS": message.Sent, "DELIVERED": message.Sent, "COMPLETED": message.Sent, "TRUE": message.Sent,
	"FAILED": message.Failed, "FAILURE": message.Failed, "ERROR": message.Failed,
}

// inFlight are the states of a message that may be in flight.
var inFlight = map[string]bool{"PROCESSING": true, "SENDING": true, "IN_PROGRESS": true, "RETRYING": true}

// rowReader converts rows to messages.
type rowReader struct {
	scope, table string
	numbers      input.PhoneNumbers
	rules        message.Rules
}

// read converts a row to a message, or returns all its errors. The id depends on
// the row alone, so a repeat returns the same one.
func (r rowReader) read(row sourceRow) (message.Message, []message.FieldError) {
	var errs []message.FieldError
	wrong := func(field, code, text string) {
		errs = append(errs, message.FieldError{Field: field, Code: code, Message: text})
	}
	if row.checkText(wrong); len(errs) > 0 {
		return message.Message{}, errs // further errors would follow from these
	}
	body, err := r.body(row)
	if err != nil {
		wrong("to", message.CodeInvalidPhoneNumber, err.Error())
		return message.Message{}, errs
	}
	request, err := r.rules.Parse(body, time.Now())
	var invalid *message.ValidationError
	var malformed *message.MalformedError
	switch {
	case errors.As(err, &invalid):
		errs = append(errs, invalid.Errors...)
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
	if len(errs) > 0 {
		return message.Message{}, errs
	}
	m := request.Message(message.DerivedID(created, 0, r.scope+" "+row.id), r.scope)
	m.Status = status
	m.CreatedAt, m.DeliverAt = m.ID.Time(), m.ID.Time() // the id holds them to a quarter of a microsecond, so a range of times is a range of ids
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

// body converts the row to a request. A NULL is left out, so that validation reports
// the field as missing. An international number without its + gets one, because the
// original accepted both, unless the flags name a country.
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

// checkText finds text that is not UTF-8. A database with the encoding SQL_ASCII
// stores any bytes, and JSON would replace them.
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
	case inFlight[word]:
		wrong("status", message.CodeConflict, fmt.Sprintf("is %q: it may be in flight; stop the original, find out whether it was sent, and import again", *row.status))
	case !known:
		wrong("status", message.CodeOutOfRange, fmt.Sprintf("is %q, and must be PENDING, SENT or FAILED, or a word for one of them", *row.status))
	case status == message.Pending && (sentAt || row.externalID != nil && *row.externalID != ""):
		wrong("status", message.CodeConflict, fmt.Sprintf("is %q, but there is a sentAt or an externalId: it may have been sent", *row.status))
	}
	return status
}

// finite returns a time, or the other one if it is NULL or infinite.
func finite(t pgtype.Timestamptz, otherwise time.Time) time.Time {
	at := t.Time.UTC()
	if !t.Valid || t.InfinityModifier != pgtype.Finite || at.Year() < 1 || at.Year() > 9999 {
		return otherwise
	}
	return at
}

// cut shortens a text to a number of bytes, at the end of a character.
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
