package request

import (
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

const (
	defaultLimit = 20 // messages of a page
	maxLimit     = 100
	maxParameter = 256 // bytes of a text parameter; no field that it could equal is longer
)

var limitPattern = regexp.MustCompile(`^[0-9]{1,4}$`)

// Query holds the parameters of a request. Each may be given several times.
type Query map[string][]string

// filterParser parses a query and collects every error in it.
type filterParser struct {
	filter     db.Filter
	recipients Recipients
	errs       []message.FieldError
}

// ParseFilter parses the parameters of a list.
func ParseFilter(q Query, recipients Recipients) (db.Filter, error) {
	p := filterParser{filter: db.Filter{Limit: defaultLimit}, recipients: recipients}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		p.parse(name, q[name])
	}
	if after, before := p.filter.CreatedAfter, p.filter.CreatedBefore; after != nil && before != nil && !after.Before(*before) {
		p.invalid("createdBefore", message.CodeOutOfRange, "must be later than createdAfter")
	}
	if len(p.errs) > 0 {
		return db.Filter{}, invalidParameters(p.errs)
	}
	return p.filter, nil
}

func (p *filterParser) invalid(field, code, text string) {
	p.errs = append(p.errs, message.FieldError{Field: field, Code: code, Message: text})
}

func (p *filterParser) parse(name string, values []string) {
	if name == "status" {
		for _, value := range values {
			p.parseStatus(value)
		}
		return
	}
	target := map[string]*string{
		"destination": &p.filter.Destination, "to": &p.filter.To, "type": &p.filter.Type,
		"externalId": &p.filter.ExternalID, "idempotencyKey": &p.filter.IdempotencyKey,
	}[name]
	single := map[string]func(name, value string){
		"createdAfter": p.parseTime, "createdBefore": p.parseTime, "limit": p.parseLimit, "cursor": p.parseCursor,
	}[name]
	switch {
	case target == nil && single == nil:
		p.invalid(name, message.CodeUnknownParameter, "is not a parameter of this request")
	case len(values) > 1:
		p.invalid(name, message.CodeDuplicateField, "must be given once")
	case single != nil:
		single(name, values[0])
	default:
		*target = p.parseText(name, values[0])
	}
}

func (p *filterParser) parseStatus(value string) {
	status, ok := message.ParseStatus(value)
	if !ok {
		p.invalid("status", message.CodeInvalidValue, "must be one of "+statusNames())
		return
	}
	p.filter.Statuses = append(p.filter.Statuses, status)
}

func statusNames() string {
	var names []string
	for _, status := range message.Statuses() {
		names = append(names, string(status))
	}
	return strings.Join(names, ", ")
}

func (p *filterParser) parseText(name, value string) string {
	switch {
	case value == "":
		p.invalid(name, message.CodeBlank, "must not be empty")
	case len(value) > maxParameter:
		p.invalid(name, message.CodeTooLong, fmt.Sprintf("must be at most %d bytes", maxParameter))
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		p.invalid(name, message.CodeInvalidCharacter, "must be UTF-8 text without NUL")
	case name == "destination" && !message.DestinationPattern.MatchString(value):
		p.invalid(name, message.CodeInvalidFormat, "must be a destination's name: a-z, 0-9, '_' and '-'")
	case name == "to":
		return p.recipients.Normalize(value)
	}
	return value
}

func (p *filterParser) parseTime(name, value string) {
	// A '+' that was not escaped in the URL arrives as a space.
	t, err := message.ParseTime(strings.Replace(value, " ", "+", 1))
	if err != nil {
		p.invalid(name, timeCode(err), err.Error())
		return
	}
	if name == "createdAfter" {
		p.filter.CreatedAfter = &t
	} else {
		p.filter.CreatedBefore = &t
	}
}

func (p *filterParser) parseLimit(name, value string) {
	limit, err := strconv.Atoi(value)
	if err != nil || !limitPattern.MatchString(value) || limit < 1 || limit > maxLimit {
		p.invalid(name, message.CodeOutOfRange, fmt.Sprintf("must be a whole number from 1 to %d", maxLimit))
		return
	}
	p.filter.Limit = limit
}

func (p *filterParser) parseCursor(name, value string) {
	id, ok := decodeCursor(value)
	if !ok {
		p.invalid(name, message.CodeInvalidFormat, "must be the nextCursor of an earlier page")
		return
	}
	p.filter.Before = &id
}
