package request

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// ParseID parses the id of a message in a path or a body.
func ParseID(text string) (message.ID, error) {
	id, err := message.ParseID(text)
	if err != nil {
		p := message.NewProblem(http.StatusBadRequest, message.ProblemInvalidParameters, "id must be a UUID")
		p.Errors = []message.FieldError{{Field: "id", Code: message.CodeInvalidFormat, Message: "must be a UUID"}}
		return id, p
	}
	return id, nil
}

// ParseIDBody parses {"id":…}: the body of a request over NATS about one
// message.
func ParseIDBody(body []byte) (message.ID, error) {
	id, others, errs, err := splitID(body)
	if err != nil {
		return id, err
	}
	for _, f := range others {
		errs = append(errs, message.FieldError{Field: shortened(f.name), Code: message.CodeUnknownField, Message: "is not a field of this request; id is"})
	}
	return id, invalidFields(errs)
}

// ParseRedriveBody parses {"id":…,"expiresAt":…}: the body of a redrive over
// NATS. expiresAt is nil if the body has none.
func ParseRedriveBody(body []byte, now time.Time) (id message.ID, expiresAt *time.Time, err error) {
	id, others, errs, err := splitID(body)
	if err != nil {
		return id, nil, err
	}
	expiresAt, err = parseRedriveFields(others, errs, now)
	return id, expiresAt, err
}

// splitID returns the id of an object, its other fields, and the errors of those
// that it has more than once.
func splitID(body []byte) (id message.ID, others []field, repeated []message.FieldError, err error) {
	fields, repeated, err := parseFields(body)
	if err != nil {
		return id, nil, nil, &message.MalformedError{Reason: "must be a JSON object with an id"}
	}
	var text string
	for _, f := range fields {
		if f.name != "id" {
			others = append(others, f)
			continue
		}
		_ = json.Unmarshal(f.value, &text) // another type leaves it empty
	}
	if text == "" {
		return id, nil, nil, InvalidField("id", message.CodeRequired, "must be the id of a message")
	}
	id, err = ParseID(text)
	return id, others, repeated, err
}
