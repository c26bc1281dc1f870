package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/caarlos0/env/v11"
)

// Environment holds the variables of a configuration: names and values.
type Environment map[string]string

// ReadEnvironment merges environ (in the form of os.Environ) with the dotenv file at
// the given path. A missing file is no error. environ wins, also where it sets a
// name to nothing. parseDotEnv describes the format of the file. A format error
// gives a *ValidationErrors. If the file can't be read, the error is an
// *UnreadableError and the result is environ alone, which may be enough.
func ReadEnvironment(environ []string, dotenv string) (Environment, error) {
	result := Environment(env.ToMap(environ))
	text, err := os.ReadFile(dotenv)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return result, nil
	case err != nil:
		return result, &UnreadableError{File: dotenv, Err: err}
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

// UnreadableError means that a dotenv file exists but can't be read.
type UnreadableError struct {
	File string
	Err  error
}

// Error returns the file and the reason.
func (e *UnreadableError) Error() string {
	return fmt.Sprintf("%s can't be read: %s", e.File, reason(e.Err))
}

// Unwrap returns the error of the read.
func (e *UnreadableError) Unwrap() error { return e.Err }

// reason returns a file error without the path.
func reason(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// Loaded is a configuration together with its environment.
type Loaded[T any] struct {
	Config      T
	Environment Environment
	Warnings    []string // about .env
}

// LoadWith reads the environment and .env in the working directory, and parses them.
// A .env that can't be read gives a warning if the configuration is valid without
// it, else a validation error.
func LoadWith[T any](parse func(Environment) (T, error)) (loaded Loaded[T], err error) {
	loaded.Environment, err = ReadEnvironment(os.Environ(), ".env")
	var unread *UnreadableError
	if err != nil && !errors.As(err, &unread) {
		return loaded, err
	}
	loaded.Config, err = parse(loaded.Environment)
	var invalid *ValidationErrors
	switch {
	case unread == nil:
	case errors.As(err, &invalid):
		first := ValidationError{Variable: unread.File, Problem: fmt.Sprintf("can't be read (%s); what is missing may be set there", reason(unread.Err))}
		err = &ValidationErrors{All: append([]ValidationError{first}, invalid.All...)}
	case err == nil:
		loaded.Warnings = []string{unread.Error() + "; what it sets has no effect"}
	}
	return loaded, err
}
