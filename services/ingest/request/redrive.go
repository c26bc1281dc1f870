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

// BulkRedrive is a request to retry all that a filter matches.
type BulkRedrive struct {
	Filter db.RedriveFilter
	DryRun bool
}

// ReadRedrive reads the body of a retry: nothing, or {"expiresAt":…}.
func ReadRedrive(body []byte, now time.Time) (expiresAt *time.Time, err error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil //nolint:nilnil // there is none, and nothing wrong with that
	}
	fields, repeated, err := readFields(body)
	if err != nil {
		return nil, err
	}
	return ReadExpiresAt(fields, repeated, now)
}

// ReadExpiresAt reads the fields of a retry, and adds to the mistakes that
// are known already.
func ReadExpiresAt(fields []bodyField, mistakes []message.FieldError, now time.Time) (expiresAt *time.Time, err error) {
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

// ReadBulkRedrive reads a filter. Its error names every mistake: a filter that
// is not understood must not match everything.
func ReadBulkRedrive(body []byte) (BulkRedrive, error) {
	fields, errs, err := readFields(body)
	if err != nil {
		return BulkRedrive{}, err
	}
	r := bulkReader{errs: errs}
	r.request.Filter.Statuses = []message.Status{message.Failed}
	for _, f := range fields {
		r.read(f.name, f.value)
	}
	if after, before := r.request.Filter.CreatedAfter, r.request.Filter.CreatedBefore; after != nil && before != nil && !after.Before(*before) {
		r.wrong("createdBefore", message.CodeOutOfRange, "must be later than createdAfter")
	}
	if mistakes := atMost(r.errs); len(mistakes) > 0 {
		return BulkRedrive{}, &message.ValidationError{Errors: mistakes}
	}
	return r.request, nil
}

// bulkReader gathers a request and every mistake in it.
type bulkReader struct {
	request BulkRedrive
	errs    []message.FieldError
}

func (r *bulkReader) wrong(field, code, text string) {
	r.errs = append(r.errs, message.FieldError{Field: field, Code: code, Message: text})
}

// read reads one field; a null counts as absent.
func (r *bulkReader) read(name string, value json.RawMessage) {
	read, known := map[string]func(json.RawMessage){
		"status": r.status, "destination": r.destination, "dryRun": r.dryRun,
		"createdAfter":  func(v json.RawMessage) { r.request.Filter.CreatedAfter = r.time(name, v) },
		"createdBefore": func(v json.RawMessage) { r.request.Filter.CreatedBefore = r.time(name, v) },
	}[name]
	switch {
	case !known:
		r.wrong(shortened(name), message.CodeUnknownField, "is not a field of this request; status, destination, createdAfter, createdBefore and dryRun are")
	case string(value) != "null":
		read(value)
	}
}

func (r *bulkReader) status(value json.RawMessage) {
	var names []string
	var name string
	switch {
	case json.Unmarshal(value, &name) == nil:
		names = []string{name}
	case json.Unmarshal(value, &names) != nil:
		r.wrong("status", message.CodeWrongType, "must be a string, or a list of strings")
		return
	case len(names) == 0:
		r.wrong("status", message.CodeBlank, "must not be an empty list")
		return
	}
	r.request.Filter.Statuses = nil
	for _, name := range names {
		status, ok := message.ParseStatus(name)
		if !ok || !message.Redrive.Allows(status) {
			r.wrong("status", message.CodeInvalidValue, fmt.Sprintf("must be of FAILED, CANCELLED and EXPIRED, is %q", shortened(name)))
			continue
		}
		if !slices.Contains(r.request.Filter.Statuses, status) {
			r.request.Filter.Statuses = append(r.request.Filter.Statuses, status)
		}
	}
}

func (r *bulkReader) destination(value json.RawMessage) {
	var name string
	switch {
	case json.Unmarshal(value, &name) != nil:
		r.wrong("destination", message.CodeWrongType, "must be a string")
	case !message.DestinationPattern.MatchString(name):
		r.wrong("destination", message.CodeInvalidFormat, "must be a destination's name: a-z, 0-9, '_' and '-'")
	}
	r.request.Filter.Destination = name
}

func (r *bulkReader) dryRun(value json.RawMessage) {
	if json.Unmarshal(value, &r.request.DryRun) != nil {
		r.wrong("dryRun", message.CodeWrongType, "must be true or false")
	}
}

func (r *bulkReader) time(name string, value json.RawMessage) *time.Time {
	var text string
	if json.Unmarshal(value, &text) != nil {
		r.wrong(name, message.CodeWrongType, "must be a string")
		return nil
	}
	t, err := message.ParseTime(text)
	if err != nil {
		r.wrong(name, timeCode(err), err.Error())
		return nil
	}
	return &t
}
