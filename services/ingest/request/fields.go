package request

import (
	"bytes"
	"encoding/json"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// field is a field of a JSON object.
type field struct {
	name  string
	value json.RawMessage
}

// parseFields splits a JSON object into its fields, in their order. repeated
// names the fields that it has more than once.
func parseFields(body []byte) (fields []field, repeated []message.FieldError, err error) {
	malformed := &message.MalformedError{Reason: "must be a JSON object"}
	if !json.Valid(body) || !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return nil, nil, malformed
	}
	seen := map[string]bool{}
	decoder := json.NewDecoder(bytes.NewReader(body))
	_, err = decoder.Token()
	for err == nil && decoder.More() {
		var name json.Token
		var f field
		if name, err = decoder.Token(); err != nil {
			break
		}
		f.name, _ = name.(string) // always a string in an object
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
