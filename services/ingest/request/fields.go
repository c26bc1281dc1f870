package request

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// maxMistakes is how many mistakes are named one by one: an answer must not
// grow with a request of a million fields.
const maxMistakes = 20

// atMost cuts a long list of mistakes short, and says how many there are.
func atMost(mistakes []message.FieldError) []message.FieldError {
	more := len(mistakes) - maxMistakes
	if more <= 0 {
		return mistakes
	}
	return append(mistakes[:maxMistakes], message.FieldError{
		Code: message.CodeUnknownField, Message: fmt.Sprintf("and %d more mistakes", more),
	})
}

// bodyField is a field of a JSON object.
type bodyField struct {
	name  string
	value json.RawMessage
}

// readFields takes a JSON object apart, in its order, and names the fields
// that it has more than once.
func readFields(body []byte) (fields []bodyField, repeated []message.FieldError, err error) {
	malformed := &message.MalformedError{Reason: "must be a JSON object"}
	if !json.Valid(body) || !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return nil, nil, malformed
	}
	seen := map[string]bool{}
	decoder := json.NewDecoder(bytes.NewReader(body))
	_, err = decoder.Token()
	for err == nil && decoder.More() {
		var name json.Token
		var f bodyField
		if name, err = decoder.Token(); err != nil {
			break
		}
		f.name, _ = name.(string) // in an object it is
		if err = decoder.Decode(&f.value); err != nil {
			break
		}
		if seen[f.name] {
			repeated = append(repeated, message.FieldError{Field: shortened(f.name), Code: message.CodeDuplicateField, Message: "must not be given more than once"})
			continue
		}
		seen[f.name] = true
		fields = append(fields, f)
	}
	if err != nil {
		return nil, nil, malformed
	}
	return fields, repeated, nil
}

// timeCode is the code of what message.ParseTime refuses.
func timeCode(err error) string {
	if errors.Is(err, message.ErrTimeRange) {
		return message.CodeOutOfRange
	}
	return message.CodeInvalidFormat
}

// shortened makes a name from a request short enough for an answer.
func shortened(name string) string {
	const most = 64
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "…"
}

// ReadID reads the id of a message as it stands in a path or a body.
func ReadID(text string) (message.ID, error) {
	id, err := message.ParseID(text)
	if err != nil {
		p := message.NewProblem(http.StatusBadRequest, message.ProblemInvalidParameters, "id must be a UUID")
		p.Errors = []message.FieldError{{Field: "id", Code: message.CodeInvalidFormat, Message: "must be a UUID"}}
		return id, p
	}
	return id, nil
}

// InvalidField is a request with one mistake.
func InvalidField(field, code, text string) error {
	return &message.ValidationError{Errors: []message.FieldError{{Field: field, Code: code, Message: text}}}
}

// BadParameters is a 400 that names every mistake of a query.
func BadParameters(errs []message.FieldError) error {
	p := message.NewProblem(http.StatusBadRequest, message.ProblemInvalidParameters, (&message.ValidationError{Errors: errs}).Error())
	p.Errors = errs
	return p
}
