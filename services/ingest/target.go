package ingest

import (
	"encoding/json"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// target is the message that a request is about, and what else it holds.
type target struct {
	id       message.ID
	rest     []bodyField
	mistakes []message.FieldError // fields that are there more than once
}

// readTarget reads {"id":…}.
func readTarget(body []byte) (target, error) {
	fields, mistakes, err := readFields(body)
	if err != nil {
		return target{}, &message.MalformedError{Reason: "must be a JSON object with an id"}
	}
	t := target{mistakes: mistakes}
	var text string
	for _, f := range fields {
		if f.name != "id" {
			t.rest = append(t.rest, f)
			continue
		}
		_ = json.Unmarshal(f.value, &text) // what is no text stays empty
	}
	if text == "" {
		return target{}, invalidField("id", message.CodeRequired, "must be the id of a message")
	}
	t.id, err = readID(text)
	return t, err
}

// alone refuses what stands beside the id.
func (t target) alone() error {
	mistakes := t.mistakes
	for _, f := range t.rest {
		mistakes = append(mistakes, message.FieldError{Field: shortened(f.name), Code: message.CodeUnknownField, Message: "is not a field of this request; id is"})
	}
	if mistakes = atMost(mistakes); len(mistakes) > 0 {
		return &message.ValidationError{Errors: mistakes}
	}
	return nil
}
