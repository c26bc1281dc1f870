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
	b, err := parseIDBody(body)
	if err != nil {
		return message.ID{}, err
	}
	errs := b.repeated
	for _, f := range b.others {
		errs = append(errs, message.FieldError{Field: shortened(f.name), Code: message.CodeUnknownField, Message: "is not a field of this request; id is"})
	}
	return b.id, invalidFields(errs)
}

// ParseRedriveBody parses {"id":…,"expiresAt":…}: the body of a redrive over
// NATS. expiresAt is nil if the body has none.
func ParseRedriveBody(body []byte, now time.Time) (id message.ID, expiresAt *time.Time, err error) {
	b, err := parseIDBody(body)
	if err != nil {
		return message.ID{}, nil, err
	}
	expiresAt, err = parseRedriveFields(b.others, b.repeated, now)
	return b.id, expiresAt, err
}

// idBody is a JSON object with an id.
type idBody struct {
	id       message.ID
	others   []field
	repeated []message.FieldError // errors of the fields that it has more than once
}

func parseIDBody(body []byte) (b idBody, err error) {
	fields, repeated, err := parseFields(body)
	if err != nil {
		return b, &message.MalformedError{Reason: "must be a JSON object with an id"}
	}
	b.repeated = repeated
	var text string
	for _, f := range fields {
		if f.name != "id" {
			b.others = append(b.others, f)
			continue
		}
		_ = json.Unmarshal(f.value, &text) // another type leaves it empty
	}
	if text == "" {
		return b, InvalidField("id", message.CodeRequired, "must be the id of a message")
	}
	b.id, err = ParseID(text)
	return b, err
}
