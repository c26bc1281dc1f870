package message

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// field is a field of a request.
type field int

const (
	fieldTo field = iota
	fieldPhoneNumber
	fieldContent
	fieldPayload
	fieldDestination
	fieldType
	fieldPriority
	fieldDeliverAt
	fieldExpiresAt
	fieldMetadata
	fieldIdempotencyKey
	fieldCount
)

var fieldNames = [fieldCount]string{
	"to", "phoneNumber", "content", "payload", "destination", "type",
	"priority", "deliverAt", "expiresAt", "metadata", "idempotencyKey",
}

// reader gathers a request and every mistake in it. One method judges one
// field, in the order of ParseWith.
type reader struct {
	rules   Rules
	now     time.Time
	outside RequestMeta

	values  [fieldCount][]byte // nil for what is not given
	target  string             // the destination, given or not; empty if it can't be told
	request Request
	errs    []FieldError
}

func (in *reader) wrong(name, code, text string) {
	in.errs = append(in.errs, FieldError{Field: name, Code: code, Message: text})
}

func (in *reader) wrongType(f field, want string) {
	in.wrong(fieldNames[f], CodeWrongType, "must be "+want+", is "+kindOf(in.values[f]))
}

func (in *reader) tooLong(name string, limit, length int) {
	in.wrong(name, CodeTooLong, fmt.Sprintf("must be at most %d bytes long, is %d", limit, length))
}

// text decodes a field that holds a string. It is not ok if the field is
// absent or, as is noted, something else.
func (in *reader) text(f field) (text string, ok bool) {
	value := in.values[f]
	if value == nil {
		return "", false
	}
	if value[0] != '"' {
		in.wrongType(f, "a string")
		return "", false
	}
	return unquote(value), true
}

// destination comes first: what a recipient must be depends on it.
func (in *reader) destination() {
	given, ok := in.text(fieldDestination)
	subject := in.outside.Destination
	in.target = cmp.Or(subject, DefaultDestination)
	switch {
	case ok && subject != "" && given != subject:
		in.wrong("destination", CodeConflict, "must be "+shown(subject)+", the destination of the subject, or be left out")
	case ok:
		in.request.Destination, in.target = given, given
	case subject == "" && in.values[fieldDestination] != nil:
		in.target = "" // meant another one than the default, but which?
		return
	case subject != DefaultDestination: // the default stays absent, as in a request without a subject
		in.request.Destination = subject
	}
	if _, known := in.rules.Destinations[in.target]; !known {
		in.wrong("destination", CodeUnknownDestination, "must name a destination that exists, and "+shown(in.target)+" does not")
	}
}

func (in *reader) recipient() {
	f := fieldTo
	if in.values[fieldTo] == nil && in.values[fieldPhoneNumber] != nil {
		f = fieldPhoneNumber
	}
	if in.values[f] == nil {
		in.wrong("to", CodeRequired, "must be given: who the message is for")
		return
	}
	to, ok := in.text(f)
	if f == fieldTo && in.values[fieldPhoneNumber] != nil {
		other, isText := in.text(fieldPhoneNumber)
		if ok && isText && to != other {
			in.wrong("phoneNumber", CodeConflict, "must not differ from to: the two are names of one field")
		}
	}
	if !ok {
		return
	}
	in.request.To, in.request.recipient = to, to
	name := fieldNames[f]
	switch {
	case isBlank(to):
		in.wrong(name, CodeBlank, "must not be blank")
	case len(to) > MaxRecipientBytes:
		in.tooLong(name, MaxRecipientBytes, len(to))
	case hasControl(to):
		in.wrong(name, CodeInvalidCharacter, "must not hold control characters")
	case in.rules.Destinations[in.target] == RecipientPhone:
		number, err := NormalizePhone(to)
		if err != nil {
			in.wrong(name, CodeInvalidPhoneNumber, err.Error())
		}
		in.request.recipient = number
	}
}

func (in *reader) contentOrPayload() {
	content, payload := in.values[fieldContent], in.values[fieldPayload]
	switch {
	case content == nil && payload == nil:
		in.wrong("content", CodeRequired, "must be given, or payload instead")
		return
	case content != nil && payload != nil:
		in.wrong("payload", CodeConflict, "must not be given together with content")
	}
	if payload != nil {
		if limit := in.rules.MaxPayloadBytes; len(payload) > limit {
			in.tooLong("payload", limit, len(payload))
			return
		}
		in.request.Payload = bytes.Clone(payload)
	}
	text, ok := in.text(fieldContent)
	if !ok {
		return
	}
	in.request.Content = text
	limit, length := in.rules.MaxContentLength, utf8.RuneCountInString(text)
	if isBlank(text) {
		in.wrong("content", CodeBlank, "must not be blank")
	}
	if length > limit {
		in.wrong("content", CodeTooLong, fmt.Sprintf("must be at most %d characters long, is %d", limit, length))
	}
	in.noNUL("content", text)
}

// noNUL refuses what Postgres can't keep in a text.
func (in *reader) noNUL(name, text string) {
	if strings.IndexByte(text, 0) >= 0 {
		in.wrong(name, CodeInvalidCharacter, "must not hold the character U+0000")
	}
}

func (in *reader) eventType() {
	text, ok := in.text(fieldType)
	switch {
	case !ok:
	case len(text) > MaxTypeBytes:
		in.tooLong("type", MaxTypeBytes, len(text))
	case !isDotted(text):
		in.wrong("type", CodeInvalidFormat, `must be words of letters, digits, "_" and "-", joined by dots, such as "invoice.paid"`)
	default:
		in.request.Type = text
	}
}

// isDotted reports whether text is words joined by single dots.
func isDotted(text string) bool {
	inWord := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			inWord = true
		case c == '.' && inWord:
			inWord = false
		default:
			return false
		}
	}
	return inWord
}

func (in *reader) priority() {
	value := in.values[fieldPriority]
	if value == nil {
		return
	}
	if kindOf(value) != "a number" {
		in.wrongType(fieldPriority, "a number")
		return
	}
	if bytes.ContainsAny(value, ".eE") {
		in.wrong("priority", CodeWrongType, fmt.Sprintf("must be a whole number from 0 to %d, written without a point or an exponent", MaxPriority))
		return
	}
	priority, err := strconv.Atoi(string(value))
	if err != nil { // more digits than an int takes
		priority = math.MaxInt
	}
	if priority < 0 || priority > MaxPriority {
		in.wrong("priority", CodeOutOfRange, fmt.Sprintf("must be from 0 (last) to %d (first)", MaxPriority))
		return
	}
	in.request.Priority = &priority
}

func (in *reader) times() {
	in.request.DeliverAt = in.time(fieldDeliverAt)
	in.request.ExpiresAt = in.time(fieldExpiresAt)
	deliver, expire := in.request.DeliverAt, in.request.ExpiresAt
	switch {
	case expire == nil:
	case !expire.After(in.now):
		in.wrong("expiresAt", CodeOutOfRange, "must be in the future")
	case deliver != nil && !expire.After(*deliver):
		in.wrong("expiresAt", CodeOutOfRange, "must be later than deliverAt")
	}
}

// time decodes a field that holds a time.
func (in *reader) time(f field) *time.Time {
	text, ok := in.text(f)
	if !ok {
		return nil
	}
	t, err := ParseTime(text)
	switch {
	case errors.Is(err, ErrTimeRange):
		in.wrong(fieldNames[f], CodeOutOfRange, err.Error())
		return nil
	case err != nil:
		in.wrong(fieldNames[f], CodeInvalidFormat, err.Error())
		return nil
	}
	return &t
}

func (in *reader) idempotencyKey() {
	key, ok := in.text(fieldIdempotencyKey)
	if ok {
		if wrong := CheckIdempotencyKey(key); wrong != nil {
			in.errs = append(in.errs, *wrong)
		}
	}
	header := in.outside.IdempotencyKey
	if header != "" {
		if wrong := CheckIdempotencyKey(header); wrong != nil {
			wrong.Field = in.outside.KeyHeader
			in.errs = append(in.errs, *wrong)
		}
		if ok && key != header {
			in.wrong("idempotencyKey", CodeConflict, "must not differ from the header "+in.outside.KeyHeader)
		}
		key = header
	}
	in.request.IdempotencyKey = key
}
