package request

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// maxFieldErrors is how many errors a response names one by one. A response
// must not grow with a request of a million fields.
const maxFieldErrors = 20

// NoParameters returns an error if a query has parameters: it is for requests
// that take none.
func NoParameters(q Query) error {
	var errs []message.FieldError
	for name := range q {
		errs = append(errs, message.FieldError{Field: name, Code: message.CodeUnknownParameter, Message: "is not a parameter of this request"})
	}
	if len(errs) > 0 {
		return invalidParameters(errs)
	}
	return nil
}

// InvalidField returns the error of a request with one invalid field.
func InvalidField(field, code, text string) error {
	return &message.ValidationError{Errors: []message.FieldError{{Field: field, Code: code, Message: text}}}
}

// invalidFields returns the error of a request body; nil if there are no errs.
func invalidFields(errs []message.FieldError) error {
	if len(errs) == 0 {
		return nil
	}
	return &message.ValidationError{Errors: truncated(errs)}
}

// invalidParameters returns the error of a query.
func invalidParameters(errs []message.FieldError) error {
	p := message.NewProblem(http.StatusBadRequest, message.ProblemInvalidParameters, (&message.ValidationError{Errors: errs}).Error())
	p.Errors = errs
	return p
}

// truncated shortens a long list of errors, and says how many there are.
func truncated(errs []message.FieldError) []message.FieldError {
	more := len(errs) - maxFieldErrors
	if more <= 0 {
		return errs
	}
	return append(errs[:maxFieldErrors], message.FieldError{
		Code: message.CodeUnknownField, Message: fmt.Sprintf("and %d more errors", more),
	})
}

// timeCode returns the code for an error of message.ParseTime.
func timeCode(err error) string {
	if errors.Is(err, message.ErrTimeRange) {
		return message.CodeOutOfRange
	}
	return message.CodeInvalidFormat
}

// shortened makes a name from a request short enough for a response.
func shortened(name string) string {
	const maxBytes = 64
	if len(name) <= maxBytes {
		return name
	}
	return strings.ToValidUTF8(name[:maxBytes], "") + "…"
}
