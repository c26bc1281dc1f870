package request

import (
	"encoding/json"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// target is the message that a request is about, and what else it holds.
type target struct {
	Id       message.ID
	Rest     []bodyField
	Mistakes []message.FieldError // fields that are there more than once
}

// ReadTarget reads {"id":…}.
func ReadTarget(body []byte) (target, error) {
	fields, mistakes, err := readFields(body)
	if err != nil {
		return target{}, &message.MalformedError{Reason: "must be a JSON object with an id"}
	}
	t := target{Mistakes: mistakes}
	var text string
	for _, f := range fields {
		if f.name != "id" {
			t.Rest = append(t.Rest, f)
			continue
		}
		_ = json.Unmarshal(f.value, &text) // what is no text stays empty
	}
	if text == "" {
		return target{}, InvalidField("id", message.CodeRequired, "must be the id of a message")
	}
	t.Id, err = ReadID(text)
	return t, err
}

// Alone refuses what stands beside the id.
func (t target) Alone() error {
	mistakes := t.Mistakes
	for _, f := range t.Rest {
		mistakes = append(mistakes, message.FieldError{Field: shortened(f.name), Code: message.CodeUnknownField, Message: "is not a field of this request; id is"})
	}
	if mistakes = atMost(mistakes); len(mistakes) > 0 {
		return &message.ValidationError{Errors: mistakes}
	}
	return nil
}
