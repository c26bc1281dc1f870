package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Overview is the pace and where everything stands: what the status route
// and the control subject answer.
type Overview struct {
	Changed         *bool            `json:"changed,omitempty"` // of a start or stop: false when it already was so
	State           string           `json:"state"`             // StateRunning or StateStopped
	Interval        Duration         `json:"interval"`          // 0 is the continuous mode
	BatchSize       int              `json:"batchSize"`
	LastTickAt      *time.Time       `json:"lastTickAt"`
	NextTickAt      *time.Time       `json:"nextTickAt"` // nil while a claim is being published
	LastBatch       int              `json:"lastBatch"`
	Counts          map[Status]int64 `json:"counts"`          // every state has an entry
	OldestPendingAt *time.Time       `json:"oldestPendingAt"` // the earliest due time of what is pending
	Instances       []Instance       `json:"instances"`

	// Wait is how long it is to NextTickAt by Postgres' clock.
	Wait time.Duration `json:"-"`
}

// The states of the pace.
const (
	StateRunning = "RUNNING"
	StateStopped = "STOPPED"
)

// Instance is one running service.
type Instance struct {
	ID      string    `json:"id"`
	Service string    `json:"service"` // ingest, dispatcher or sender
	Since   time.Time `json:"since"`
}

// Duration is a time.Duration whose JSON is Go's notation, such as "2m0s".
type Duration time.Duration

// MarshalText writes Go's notation.
func (d Duration) MarshalText() ([]byte, error) {
	return []byte(time.Duration(d).String()), nil
}

// UnmarshalText reads Go's notation.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// Configuration is a change of the pace; an absent field stays as it is.
type Configuration struct {
	Interval  *time.Duration
	BatchSize *int
}

// Limits of the pace.
const (
	MaxInterval  = 30 * 24 * time.Hour
	MaxBatchSize = 10_000
)

// ParseConfiguration reads {"interval":"30s","batchSize":10}. It returns
// *Malformed or *Invalid like every reader of requests, with every mistake.
func ParseConfiguration(body []byte) (Configuration, error) {
	if err := checkObject(body); err != nil {
		return Configuration{}, err
	}
	var config Configuration
	var errs []FieldError
	seen := map[string]bool{}
	walk := elementsOf(bytes.TrimLeft(body, " \t\r\n"))
	for key := walk.next(); key != nil; key = walk.next() {
		name, value := unquote(key), walk.next()
		if seen[name] {
			errs = append(errs, FieldError{printable(name), CodeDuplicateField, "must not be given more than once"})
			continue
		}
		seen[name] = true
		if wrong := config.set(name, value); wrong != nil {
			errs = append(errs, *wrong)
		}
	}
	if len(seen) == 0 {
		errs = append(errs, FieldError{"interval", CodeRequired, "must be given, or batchSize, or both"})
	}
	if len(errs) > 0 {
		return Configuration{}, &ValidationError{Errors: errs}
	}
	return config, nil
}

// set reads one setting.
func (c *Configuration) set(name string, value []byte) *FieldError {
	switch name {
	case "interval":
		if value[0] != '"' {
			return &FieldError{name, CodeWrongType, `must be a duration such as "30s" ("0s" is the continuous mode), is ` + kindOf(value)}
		}
		interval, err := time.ParseDuration(unquote(value))
		if err != nil || interval < 0 || interval > MaxInterval || (interval > 0 && interval < time.Millisecond) {
			return &FieldError{name, CodeOutOfRange, fmt.Sprintf(`must be "0s" or a duration from 1ms to %s`, MaxInterval)}
		}
		c.Interval = &interval
	case "batchSize":
		var size int
		if json.Unmarshal(value, &size) != nil || size < 1 || size > MaxBatchSize {
			return &FieldError{name, CodeOutOfRange, fmt.Sprintf("must be a whole number from 1 to %d", MaxBatchSize)}
		}
		c.BatchSize = &size
	default:
		return &FieldError{printable(name), CodeUnknownField, "is not a setting; interval and batchSize are"}
	}
	return nil
}
