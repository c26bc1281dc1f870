package request

import (
	"encoding/json"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// ParseQuery parses a JSON object whose fields are parameters: the body of a
// request over NATS. An empty body is an empty query.
func ParseQuery(body []byte) (Query, error) {
	if len(body) == 0 {
		return Query{}, nil
	}
	fields, errs, err := parseFields(body)
	if err != nil {
		return nil, err
	}
	q := make(Query, len(fields))
	for _, f := range fields {
		values, ok := parseValues(f.value)
		if !ok {
			errs = append(errs, message.FieldError{Field: shortened(f.name), Code: message.CodeWrongType, Message: "must be a text, a number or a list of texts"})
			continue
		}
		q[f.name] = values
	}
	if len(errs) > 0 {
		return nil, invalidParameters(truncated(errs))
	}
	return q, nil
}

// parseValues returns a text, a number or a list of texts.
func parseValues(raw json.RawMessage) ([]string, bool) {
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
