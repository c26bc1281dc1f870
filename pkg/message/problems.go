package message

import "strings"

// FieldError is one mistake in a request.
type FieldError struct {
	Field   string `json:"field"`
	Code    string `json:"code"` // a stable snake_case word
	Message string `json:"message"`
}

// Invalid is a request that can be read and not be meant: every mistake of
// its fields at once.
type Invalid struct {
	Errors []FieldError
}

// Error lists the mistakes.
func (e *Invalid) Error() string {
	parts := make([]string, len(e.Errors))
	for i, f := range e.Errors {
		parts[i] = f.Field + " " + f.Message
	}
	return strings.Join(parts, "; ")
}

// Malformed is a request that can't be read at all.
type Malformed struct {
	Detail string
}

// Error says what is wrong.
func (e *Malformed) Error() string { return e.Detail }
