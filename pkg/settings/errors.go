package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/message-dispatcher/dispatch/pkg/redact"
)

// ValidationError is one error in the configuration.
type ValidationError struct {
	Variable string // name of the environment variable; empty if it belongs to none
	Value    string // the given value; empty if not set, Hidden for a secret
	Problem  string // what is allowed, as the end of a sentence: "must be 1, 3 or 5"
}

// Hidden replaces the value of a secret.
const Hidden = "(hidden)"

// Error returns one line: NAME="value": problem.
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

// Invalid returns a ValidationError; Validate methods use it. value is formatted by
// fmt.Sprint. Load and Validate replace it with Hidden if the variable is tagged as
// a secret. problem says what is allowed and must not contain a secret.
func Invalid(variable string, value any, problem string) error {
	return ValidationError{Variable: variable, Value: fmt.Sprint(value), Problem: problem}
}

// ValidationErrors holds all validation errors, at least one.
type ValidationErrors struct{ All []ValidationError }

// Error returns one line per validation error.
func (e *ValidationErrors) Error() string {
	lines := make([]string, len(e.All))
	for i, m := range e.All {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// ExitCode returns the exit code of a process: 0 without an error, 2 for a
// *ValidationErrors, 1 for any other error.
func ExitCode(err error) int {
	var invalid *ValidationErrors
	switch {
	case err == nil:
		return 0
	case errors.As(err, &invalid):
		return 2
	}
	return 1
}

// collector collects validation errors without duplicates. Two services in one
// process may share a block, which is then validated twice.
type collector struct {
	validationErrors []ValidationError
	secrets          map[string]bool
	unparsed         map[string]bool // variables whose value could not be parsed
}

// add collects the errors of a Validate method and splits what errors.Join has
// joined.
func (c *collector) add(err error) {
	if err == nil {
		return
	}
	switch joined := err.(type) { //nolint:errorlint // the tree is walked node by node, so each node's own type counts
	case *ValidationErrors:
		for _, m := range joined.All {
			c.addOne(m)
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
	c.addOne(m)
}

// addOne collects one error. It drops errors of a variable that could not be
// parsed: that error is already collected, and Validate has seen only the default.
func (c *collector) addOne(m ValidationError) {
	if c.secrets[m.Variable] && m.Value != "" {
		m.Value = Hidden
	}
	if !c.unparsed[m.Variable] && !slices.Contains(c.validationErrors, m) {
		c.validationErrors = append(c.validationErrors, m)
	}
}

// err returns all errors, or a plain nil (not a nil *ValidationErrors).
func (c *collector) err() error {
	if len(c.validationErrors) == 0 {
		return nil
	}
	return &ValidationErrors{All: c.validationErrors}
}
