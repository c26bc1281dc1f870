package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/caarlos0/env/v11"
)

// Environment is what configuration is read from: names and values.
type Environment map[string]string

// ReadEnvironment joins the dotenv file, if there is one at that path, with
// environ (as of os.Environ), which wins also where it sets a name to nothing.
// parseDotEnv says how the file is read. A file with a mistake is a
// *ValidationErrors. For a file that can't be read the error is an *UnreadError, and
// what is returned is environ alone: it may be all that is needed.
func ReadEnvironment(environ []string, dotenv string) (Environment, error) {
	result := Environment(env.ToMap(environ))
	text, err := os.ReadFile(dotenv)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return result, nil
	case err != nil:
		return result, &UnreadError{File: dotenv, Err: err}
	}
	values, err := parseDotEnv(strings.TrimPrefix(string(text), "\ufeff"))
	if err != nil {
		return nil, &ValidationErrors{All: []ValidationError{{Variable: dotenv, Problem: err.Error()}}}
	}
	for name, value := range values {
		if _, given := result[name]; !given {
			result[name] = value
		}
	}
	return result, nil
}

// UnreadError means that there is a dotenv file that can't be read.
type UnreadError struct {
	File string
	Err  error
}

// Error names the file and the reason.
func (e *UnreadError) Error() string {
	return fmt.Sprintf("%s can't be read: %s", e.File, reason(e.Err))
}

func (e *UnreadError) Unwrap() error { return e.Err }

// reason is an error of a file without the path.
func reason(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// Loaded is a configuration and what it was read from.
type Loaded[T any] struct {
	Config      T
	Environment Environment
	Warnings    []string // about .env
}

// LoadWith reads the environment and .env in the working directory, and parses
// them. A .env that can't be read is one of the warnings if what parse needs is
// in the environment, and one of the mistakes if it is not.
func LoadWith[T any](parse func(Environment) (T, error)) (loaded Loaded[T], err error) {
	loaded.Environment, err = ReadEnvironment(os.Environ(), ".env")
	var unread *UnreadError
	if err != nil && !errors.As(err, &unread) {
		return loaded, err
	}
	loaded.Config, err = parse(loaded.Environment)
	var mistakes *ValidationErrors
	switch {
	case unread == nil:
	case errors.As(err, &mistakes):
		first := ValidationError{Variable: unread.File, Problem: fmt.Sprintf("can't be read (%s); what is missing may be set there", reason(unread.Err))}
		err = &ValidationErrors{All: append([]ValidationError{first}, mistakes.All...)}
	case err == nil:
		loaded.Warnings = []string{unread.Error() + "; what it sets has no effect"}
	}
	return loaded, err
}
