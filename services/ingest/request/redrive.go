package request

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// BulkRedrive is a request to redrive all messages that match a filter.
type BulkRedrive struct {
	Filter db.RedriveFilter
	DryRun bool
}

// ParseRedrive parses the body of a redrive: nothing, or {"expiresAt":…}.
// expiresAt is nil if there is none.
func ParseRedrive(body []byte, now time.Time) (expiresAt *time.Time, err error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil //nolint:nilnil // no expiry is a valid request
	}
	fields, repeated, err := parseFields(body)
	if err != nil {
		return nil, err
	}
	return parseRedriveFields(fields, repeated, now)
}

// parseRedriveFields parses the fields of a redrive. errs are the errors that
// are known already.
func parseRedriveFields(fields []field, errs []message.FieldError, now time.Time) (expiresAt *time.Time, err error) {
	for _, f := range fields {
		switch {
		case f.name != "expiresAt":
			errs = append(errs, message.FieldError{Field: shortened(f.name), Code: message.CodeUnknownField, Message: "is not a field of this request; expiresAt is"})
		case string(f.value) != "null":
			at, invalid := parseExpiresAt(f.value, now)
			expiresAt, errs = at, append(errs, invalid...)
		}
	}
	if err := invalidFields(errs); err != nil {
		return nil, err
	}
	return expiresAt, nil
}

// parseExpiresAt parses a time in the future.
func parseExpiresAt(value json.RawMessage, now time.Time) (*time.Time, []message.FieldError) {
	invalid := func(code, text string) (*time.Time, []message.FieldError) {
		return nil, []message.FieldError{{Field: "expiresAt", Code: code, Message: text}}
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		return invalid(message.CodeWrongType, "must be a string")
	}
	at, err := message.ParseTime(text)
	switch {
	case err != nil:
		return invalid(timeCode(err), err.Error())
	case !at.After(now):
		return invalid(message.CodeOutOfRange, "must be in the future")
	}
	return &at, nil
}

// ParseBulkRedrive parses the body of a bulk redrive.
func ParseBulkRedrive(body []byte) (BulkRedrive, error) {
	fields, errs, err := parseFields(body)
	if err != nil {
		return BulkRedrive{}, err
	}
	p := bulkParser{errs: errs}
	p.request.Filter.Statuses = []message.Status{message.Failed}
	for _, f := range fields {
		p.parse(f.name, f.value)
	}
	if after, before := p.request.Filter.CreatedAfter, p.request.Filter.CreatedBefore; after != nil && before != nil && !after.Before(*before) {
		p.invalid("createdBefore", message.CodeOutOfRange, "must be later than createdAfter")
	}
	if err := invalidFields(p.errs); err != nil {
		return BulkRedrive{}, err
	}
	return p.request, nil
}

// bulkParser parses a bulk redrive and collects every error in it.
type bulkParser struct {
	request BulkRedrive
	errs    []message.FieldError
}

func (p *bulkParser) invalid(field, code, text string) {
	p.errs = append(p.errs, message.FieldError{Field: field, Code: code, Message: text})
}

// parse parses one field. A null counts as absent.
func (p *bulkParser) parse(name string, value json.RawMessage) {
	parse, known := map[string]func(json.RawMessage){
		"status": p.status, "destination": p.destination, "dryRun": p.dryRun,
		"createdAfter":  func(v json.RawMessage) { p.request.Filter.CreatedAfter = p.time(name, v) },
		"createdBefore": func(v json.RawMessage) { p.request.Filter.CreatedBefore = p.time(name, v) },
	}[name]
	switch {
	case !known:
		p.invalid(shortened(name), message.CodeUnknownField, "is not a field of this request; status, destination, createdAfter, createdBefore and dryRun are")
	case string(value) != "null":
		parse(value)
	}
}

func (p *bulkParser) status(value json.RawMessage) {
	var names []string
	var name string
	switch {
	case json.Unmarshal(value, &name) == nil:
		names = []string{name}
	case json.Unmarshal(value, &names) != nil:
		p.invalid("status", message.CodeWrongType, "must be a string, or a list of strings")
		return
	case len(names) == 0:
		p.invalid("status", message.CodeBlank, "must not be an empty list")
		return
	}
	p.request.Filter.Statuses = nil
	for _, name := range names {
		status, ok := message.ParseStatus(name)
		if !ok || !message.Redrive.Allows(status) {
			p.invalid("status", message.CodeInvalidValue, fmt.Sprintf("must be of FAILED, CANCELLED and EXPIRED, is %q", shortened(name)))
			continue
		}
		if !slices.Contains(p.request.Filter.Statuses, status) {
			p.request.Filter.Statuses = append(p.request.Filter.Statuses, status)
		}
	}
}

func (p *bulkParser) destination(value json.RawMessage) {
	var name string
	switch {
	case json.Unmarshal(value, &name) != nil:
		p.invalid("destination", message.CodeWrongType, "must be a string")
	case !message.DestinationPattern.MatchString(name):
		p.invalid("destination", message.CodeInvalidFormat, "must be a destination's name: a-z, 0-9, '_' and '-'")
	}
	p.request.Filter.Destination = name
}

func (p *bulkParser) dryRun(value json.RawMessage) {
	if json.Unmarshal(value, &p.request.DryRun) != nil {
		p.invalid("dryRun", message.CodeWrongType, "must be true or false")
	}
}

func (p *bulkParser) time(name string, value json.RawMessage) *time.Time {
	var text string
	if json.Unmarshal(value, &text) != nil {
		p.invalid(name, message.CodeWrongType, "must be a string")
		return nil
	}
	t, err := message.ParseTime(text)
	if err != nil {
		p.invalid(name, timeCode(err), err.Error())
		return nil
	}
	return &t
}
