// Package exit gives errors the code with which the process ends.
package exit

import "errors"

// The exit codes.
const (
	CodeFailed      = 1 // the command was tried and did not work
	CodeUsage       = 2 // the arguments or the configuration are wrong
	CodeUnreachable = 3 // nothing answers
)

// Error is an error with an exit code.
type Error struct {
	Code int
	Err  error // nil if there is nothing more to print
}

func (e *Error) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Usage makes err an error of the arguments or the configuration.
func Usage(err error) error { return &Error{CodeUsage, err} }

// Unreachable makes err the error of a server that does not answer.
func Unreachable(err error) error { return &Error{CodeUnreachable, err} }

// Failed makes err the error of something that was tried and did not work.
func Failed(err error) error { return &Error{CodeFailed, err} }

// Silent ends the command with a code and prints nothing more.
func Silent(code int) error { return &Error{Code: code} }

// WithCode gives err the code of another error.
func WithCode(of, err error) error { return &Error{Code(of), err} }

// Code returns the exit code of an error: 0 for nil, and CodeFailed for an error
// without one.
func Code(err error) int {
	var coded *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.Code
	}
	return CodeFailed
}
