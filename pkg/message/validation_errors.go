package message

import (
	"cmp"
	"errors"
	"strings"
)

// The codes of a FieldError: stable words for programs.
const (
	CodeRequired           = "required"             // is not there and must be
	CodeUnknownField       = "unknown_field"        // is no field of this request
	CodeDuplicateField     = "duplicate_field"      // is there more than once
	CodeWrongType          = "wrong_type"           // is another kind of JSON value
	CodeConflict           = "conflict"             // contradicts another field
	CodeBlank              = "blank"                // is empty, or nothing in it can be seen
	CodeTooLong            = "too_long"             // has more characters or bytes than allowed
	CodeTooMany            = "too_many"             // has more entries than allowed
	CodeInvalidCharacter   = "invalid_character"    // holds a character that it must not hold
	CodeInvalidFormat      = "invalid_format"       // does not look as it must
	CodeInvalidPhoneNumber = "invalid_phone_number" // can't be dialled from everywhere
	CodeOutOfRange         = "out_of_range"         // is too small, too large, too early or too late
	CodeUnknownDestination = "unknown_destination"  // names a destination that is not configured
	CodeUnknownParameter   = "unknown_parameter"    // is no parameter of this request
	CodeInvalidValue       = "invalid_value"        // is not one of the values that it may have
	CodeNotSupported       = "not_supported"        // is no option of this request
)

// FieldError is one mistake in a request.
type FieldError struct {
	Field   string `json:"field"`
	Code    string `json:"code"` // one of the Code constants
	Message string `json:"message"`
}

// ValidationError is a request that can be read and not be meant: every mistake of
// its fields at once.
type ValidationError struct {
	Errors []FieldError
}

// Error lists the mistakes.
func (e *ValidationError) Error() string {
	parts := make([]string, len(e.Errors))
	for i, f := range e.Errors {
		parts[i] = strings.TrimSpace(f.Field + " " + f.Message)
	}
	return strings.Join(parts, "; ")
}

// MalformedError is a request that can't be read at all.
type MalformedError struct {
	Subject string // what the caller knows it as; empty: the body
	Reason  string // the rest of the sentence, such as "is not JSON"
}

// Error says what is wrong.
func (e *MalformedError) Error() string { return cmp.Or(e.Subject, "the body") + " " + e.Reason }

// WithSubject words an error for a caller who sent no body, but a line, an item, a
// message: a *Malformed without a Subject gets this one.
func WithSubject(subject string, err error) error {
	var malformed *MalformedError
	if errors.As(err, &malformed) && malformed.Subject == "" {
		return &MalformedError{Subject: subject, Reason: malformed.Reason}
	}
	return err
}
