package request

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Limits of a page.
const (
	defaultLimit = 20
	maxLimit     = 100
)

// maxParameter is the longest value of a text parameter, in bytes: no field
// that it could equal is longer.
const maxParameter = 256

var limitPattern = regexp.MustCompile(`^[0-9]{1,4}$`)

// Query is the parameters of a list, as HTTP gives them: every one may be
// there several times.
type Query map[string][]string

// filterReader reads a query and gathers every mistake in it.
type filterReader struct {
	filter     db.Filter
	recipients Recipients
	errs       []message.FieldError
}

// ReadFilter makes a filter of a query. Its error is a 400 that names every
// mistake; a parameter is never ignored. recipients says how a
// recipient that is looked for is stored.
func ReadFilter(q Query, recipients Recipients) (db.Filter, error) {
	r := filterReader{filter: db.Filter{Limit: defaultLimit}, recipients: recipients}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		r.read(name, q[name])
	}
	if after, before := r.filter.CreatedAfter, r.filter.CreatedBefore; after != nil && before != nil && !after.Before(*before) {
		r.bad("createdBefore", message.CodeOutOfRange, "must be later than createdAfter")
	}
	if len(r.errs) > 0 {
		return db.Filter{}, BadParameters(r.errs)
	}
	return r.filter, nil
}

func (r *filterReader) bad(field, code, text string) {
	r.errs = append(r.errs, message.FieldError{Field: field, Code: code, Message: text})
}

func (r *filterReader) read(name string, values []string) {
	if name == "status" {
		for _, value := range values {
			r.readStatus(value)
		}
		return
	}
	target := map[string]*string{
		"destination": &r.filter.Destination, "to": &r.filter.To, "type": &r.filter.Type,
		"externalId": &r.filter.ExternalID, "idempotencyKey": &r.filter.IdempotencyKey,
	}[name]
	single := map[string]func(name, value string){
		"createdAfter": r.readTime, "createdBefore": r.readTime, "limit": r.readLimit, "cursor": r.readCursor,
	}[name]
	switch {
	case target == nil && single == nil:
		r.bad(name, message.CodeUnknownParameter, "is not a parameter of this request")
	case len(values) > 1:
		r.bad(name, message.CodeDuplicateField, "must be given once")
	case single != nil:
		single(name, values[0])
	default:
		*target = r.readText(name, values[0])
	}
}

func (r *filterReader) readStatus(value string) {
	status, ok := message.ParseStatus(value)
	if !ok {
		r.bad("status", message.CodeInvalidValue, "must be one of "+statusNames())
		return
	}
	r.filter.Statuses = append(r.filter.Statuses, status)
}

func statusNames() string {
	var names []string
	for _, status := range message.Statuses() {
		names = append(names, string(status))
	}
	return strings.Join(names, ", ")
}

func (r *filterReader) readText(name, value string) string {
	switch {
	case value == "":
		r.bad(name, message.CodeBlank, "must not be empty")
	case len(value) > maxParameter:
		r.bad(name, message.CodeTooLong, fmt.Sprintf("must be at most %d bytes", maxParameter))
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		r.bad(name, message.CodeInvalidCharacter, "must be UTF-8 text without NUL")
	case name == "destination" && !message.DestinationPattern.MatchString(value):
		r.bad(name, message.CodeInvalidFormat, "must be a destination's name: a-z, 0-9, '_' and '-'")
	case name == "to":
		return r.recipients.Normalize(value)
	}
	return value
}

func (r *filterReader) readTime(name, value string) {
	// A '+' that was not escaped arrives as a space.
	t, err := message.ParseTime(strings.Replace(value, " ", "+", 1))
	if err != nil {
		r.bad(name, timeCode(err), err.Error())
		return
	}
	if name == "createdAfter" {
		r.filter.CreatedAfter = &t
	} else {
		r.filter.CreatedBefore = &t
	}
}

func (r *filterReader) readLimit(name, value string) {
	limit, err := strconv.Atoi(value)
	if err != nil || !limitPattern.MatchString(value) || limit < 1 || limit > maxLimit {
		r.bad(name, message.CodeOutOfRange, fmt.Sprintf("must be a whole number from 1 to %d", maxLimit))
		return
	}
	r.filter.Limit = limit
}

func (r *filterReader) readCursor(name, value string) {
	id, ok := parseCursor(value)
	if !ok {
		r.bad(name, message.CodeInvalidFormat, "must be the nextCursor of an earlier page")
		return
	}
	r.filter.Before = &id
}

// cursorVersion is the first byte of a cursor, so that its form can change.
const cursorVersion = 1

// NewCursor makes the cursor of the page below an id.
func NewCursor(id message.ID) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{cursorVersion}, id[:]...))
}

func parseCursor(text string) (id message.ID, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != 1+len(id) || raw[0] != cursorVersion || raw[7]>>4 != 7 {
		return message.ID{}, false
	}
	return message.ID(raw[1:]), true
}

// ReadQuery makes a query of a JSON object: what the micro service takes
// where HTTP has parameters. An empty body is an empty query.
func ReadQuery(body []byte) (Query, error) {
	if len(body) == 0 {
		return Query{}, nil
	}
	fields, errs, err := readFields(body)
	if err != nil {
		return nil, err
	}
	q := make(Query, len(fields))
	for _, f := range fields {
		values, ok := readValues(f.value)
		if !ok {
			errs = append(errs, message.FieldError{Field: shortened(f.name), Code: message.CodeWrongType, Message: "must be a text, a number or a list of texts"})
			continue
		}
		q[f.name] = values
	}
	if errs = atMost(errs); len(errs) > 0 {
		return nil, BadParameters(errs)
	}
	return q, nil
}

func readValues(raw json.RawMessage) ([]string, bool) {
	var text string
	var number json.Number
	var list []string
	switch {
	case string(raw) == "null":
		return nil, false
	case json.Unmarshal(raw, &text) == nil:
		return []string{text}, true
	case json.Unmarshal(raw, &number) == nil:
		return []string{number.String()}, true
	case json.Unmarshal(raw, &list) == nil && len(list) > 0:
		return list, true
	}
	return nil, false
}
