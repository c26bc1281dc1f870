package message

import (
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
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return Configuration{}, &Malformed{Detail: "the body must be a JSON object"}
	}
	var config Configuration
	var errs []FieldError
	for name, raw := range fields {
		switch name {
		case "interval":
			var text string
			if json.Unmarshal(raw, &text) != nil {
				errs = append(errs, FieldError{name, "wrong_type", `must be a duration such as "30s"; "0s" is the continuous mode`})
				continue
			}
			interval, err := time.ParseDuration(text)
			if err != nil || interval < 0 || interval > MaxInterval || (interval > 0 && interval < time.Millisecond) {
				errs = append(errs, FieldError{name, "out_of_range", fmt.Sprintf(`must be "0s" or a duration from 1ms to %s`, MaxInterval)})
				continue
			}
			config.Interval = &interval
		case "batchSize":
			var size int
			if json.Unmarshal(raw, &size) != nil || size < 1 || size > MaxBatchSize {
				errs = append(errs, FieldError{name, "out_of_range", fmt.Sprintf("must be a whole number from 1 to %d", MaxBatchSize)})
				continue
			}
			config.BatchSize = &size
		default:
			errs = append(errs, FieldError{name, "unknown_field", "is not a setting; interval and batchSize are"})
		}
	}
	if len(fields) == 0 {
		errs = append(errs, FieldError{"interval", "required", "give interval, batchSize or both"})
	}
	if len(errs) > 0 {
		return Configuration{}, &Invalid{Errors: errs}
	}
	return config, nil
}
