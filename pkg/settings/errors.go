package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/message-dispatcher/dispatch/pkg/redact"
)

// ValidationError is one thing wrong with the configuration.
type ValidationError struct {
	Variable string // name of the environment variable; empty if it belongs to none
	Value    string // as it was given; empty if it was not set, Hidden for a secret
	Problem  string // what is allowed, as the end of a sentence: "must be 1, 3 or 5"
}

// Hidden stands where the value of a secret would.
const Hidden = "(hidden)"

// Error is one line: NAME="value": problem.
func (m ValidationError) Error() string {
	switch {
	case m.Variable == "":
		return m.Problem
	case m.Value == "":
		return m.Variable + ": " + m.Problem
	case m.Value == Hidden:
		return m.Variable + "=" + Hidden + ": " + m.Problem
	}
	return fmt.Sprintf("%s=%q: %s", m.Variable, redact.OneLine(m.Value, 100), m.Problem)
}

// Invalid is how a Validate method reports a mistake. value is printed as
// fmt.Sprint does; Load and Validate put Hidden in its place if the variable is
// tagged as a secret. problem says what is allowed and must not repeat the
// value of a secret.
func Invalid(variable string, value any, problem string) error {
	return ValidationError{Variable: variable, Value: fmt.Sprint(value), Problem: problem}
}

// ValidationErrors holds every mistake that was found; there is at least one.
type ValidationErrors struct{ All []ValidationError }

// Error lists one mistake a line.
func (e *ValidationErrors) Error() string {
	lines := make([]string, len(e.All))
	for i, m := range e.All {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// ExitCode is what a process ends with: 0 without an error, 2 for a
// *ValidationErrors, 1 for any other.
func ExitCode(err error) int {
	var mistakes *ValidationErrors
	switch {
	case err == nil:
		return 0
	case errors.As(err, &mistakes):
		return 2
	}
	return 1
}

// collector gathers mistakes and keeps each of them once, because a block that
// two services of one process share is validated for both.
type collector struct {
	mistakes []ValidationError
	secrets  map[string]bool
	unread   map[string]bool // variables whose value could not be parsed
}

// add takes apart what errors.Join made of the mistakes of a Validate. A
// variable that could not even be parsed has been reported already, and what
// Validate saw of it was its default.
func (c *collector) add(err error) {
	if err == nil {
		return
	}
	switch joined := err.(type) { //nolint:errorlint // the tree is walked node by node, so each node's own type counts
	case *ValidationErrors:
		for _, m := range joined.All {
			c.keep(m)
		}
		return
	case interface{ Unwrap() []error }:
		for _, e := range joined.Unwrap() {
			c.add(e)
		}
		return
	}
	m := ValidationError{Problem: redact.OneLine(err.Error(), 300)}
	_ = errors.As(err, &m)
	c.keep(m)
}

func (c *collector) keep(m ValidationError) {
	if c.secrets[m.Variable] && m.Value != "" {
		m.Value = Hidden
	}
	if !c.unread[m.Variable] && !slices.Contains(c.mistakes, m) {
		c.mistakes = append(c.mistakes, m)
	}
}

// err is nil without a mistake; a plain nil, not a nil *ValidationErrors.
func (c *collector) err() error {
	if len(c.mistakes) == 0 {
		return nil
	}
	return &ValidationErrors{All: c.mistakes}
}
