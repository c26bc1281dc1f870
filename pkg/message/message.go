package message

import (
	"encoding/json"
	"math"
	"regexp"
	"time"
)

// DefaultDestination is the destination of a message that names none: the
// one that WEBHOOK_URL sets up.
const DefaultDestination = "default"

// DestinationPattern is what a destination's name looks like.
var DestinationPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// DefaultPriority is the priority of a message that names none; 0 goes last
// and MaxPriority first.
const (
	DefaultPriority = 5
	MaxPriority     = 9
)

// Message is one message and where it stands. The JSON form is the public
// one, of HTTP, NATS and events alike; optional fields are left out when
// they are not set.
type Message struct {
	ID          ID                `json:"id"`
	To          string            `json:"to"`
	Content     string            `json:"content,omitempty"`
	Payload     json.RawMessage   `json:"payload,omitempty"` // the bytes as they came: a webhook may check a signature over them
	Destination string            `json:"destination"`
	Type        string            `json:"type,omitempty"`
	Priority    int               `json:"priority"`
	DeliverAt   time.Time         `json:"deliverAt"`
	ExpiresAt   *time.Time        `json:"expiresAt,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`

	Status        Status     `json:"status"`
	Attempts      int        `json:"attempts"` // outcomes recorded so far; never starts anew
	LastError     string     `json:"lastError,omitempty"`
	NextAttemptAt *time.Time `json:"nextAttemptAt,omitempty"`
	ExternalID    string     `json:"externalId,omitempty"`

	CreatedAt time.Time  `json:"createdAt"`
	QueuedAt  *time.Time `json:"queuedAt,omitempty"`
	SentAt    *time.Time `json:"sentAt,omitempty"`
	UpdatedAt time.Time  `json:"updatedAt"`

	// Version rises with every change of the row; it is the event's sequence.
	Version int64 `json:"-"`
	// Claim is the fencing token: it rises at every emission and every
	// parking, and a copy of the id with a lower one is worth nothing.
	ClaimNumber ClaimNumber `json:"-"`
	// BudgetStart is what Attempts was when the present retry budget began:
	// at 0, or at a user's retry.
	BudgetStart int `json:"-"`
	// IdempotencyKey and Scope make a repeated request harmless; BodyHash
	// tells a repeat from another request under the same key.
	IdempotencyKey string `json:"-"`
	Scope          string `json:"-"`
	BodyHash       []byte `json:"-"`
	// Trace came in with the message and goes out with all that it leads to.
	Trace Trace `json:"-"`
}

// WithoutContent returns a copy that carries neither content, payload nor
// metadata: what an event tells by default.
func (m Message) WithoutContent() Message {
	m.Content, m.Payload, m.Metadata = "", nil, nil
	return m
}

// Attempt is one delivery attempt and how it ended.
type Attempt struct {
	Number     int           `json:"number"`
	StartedAt  time.Time     `json:"startedAt"`
	Duration   time.Duration `json:"-"`
	Outcome    string        `json:"outcome"` // one of the Outcome constants
	HTTPStatus int           `json:"httpStatus,omitempty"`
	Error      string        `json:"error,omitempty"`
	Response   string        `json:"response,omitempty"` // the first ResponseKept bytes, made valid UTF-8
	Unsent     bool          `json:"unsent,omitempty"`   // nothing of the request reached the receiver
}

// ResponseKept is how many bytes of a webhook's response an attempt keeps.
const ResponseKept = 1024

// MarshalJSON adds durationMs, the duration in milliseconds with three
// decimals.
func (a Attempt) MarshalJSON() ([]byte, error) {
	return a.AppendJSON(nil), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (a *Attempt) UnmarshalJSON(data []byte) error {
	type plain Attempt
	wire := struct {
		*plain
		DurationMs float64 `json:"durationMs"`
	}{plain: (*plain)(a)}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	a.Duration = time.Duration(math.Round(wire.DurationMs*1000)) * time.Microsecond
	return nil
}

// How an attempt ended.
const (
	OutcomeSuccess = "success" // any 2xx
	OutcomeRetry   = "retry"   // failed, and another attempt follows
	OutcomeFailure = "failure" // failed for good
	OutcomeExpired = "expired" // not tried, or not tried again, because expiresAt comes first
)
