package checker

import (
	"fmt"
	"time"
)

// Op is a message that a client submitted, and what it was answered.
type Op struct {
	Key       string    // the idempotency key, unique over all clients
	Via       string    // http, batch, lines, nats (published) or request
	DeliverAt time.Time // as it was asked for; zero: at once
	ExpiresAt time.Time // zero: never
	Invoked   time.Time
	Accepted  time.Time // zero: never answered, so that it may exist or not
	ID        string    // as answered first; a publish ack tells none
	OtherIDs  []string  // ids that repeats of it were answered with instead
	Replaced  bool      // another body under the same key was accepted
	Gone      bool      // erased, or past its retention: nobody may have it any more
	Refused   time.Time // a repeat was refused, after it had been accepted
}

// Request is one request that the webhook saw.
type Request struct {
	Sender  string // who sent it, as in Disturbance.Target
	ID      string // its Idempotency-Key
	Key     string // the client's key, from the body
	Attempt int
	Arrived time.Time
	Done    time.Time // zero while the webhook has not done with it
	Status  int       // what it answered; 0: nothing
	Written bool      // the answer was handed to the connection whole
}

// succeeded says whether a 2xx was answered, be it on its way or lost.
func (r Request) succeeded() bool { return r.Status >= 200 && r.Status < 300 }

// What can be done to a process or a link.
const (
	Kill      = "kill"
	Freeze    = "freeze"
	Terminate = "terminate"
	Fault     = "fault" // of a link: cut, reset, slow …
)

// Disturbance is something that was broken, from From until Until.
type Disturbance struct {
	What   string // Kill, Freeze, Terminate or Fault
	Target string // a process, such as sender-2 or nats
	Other  string // of a Fault: the process at the far end
	Detail string
	From   time.Time
	Until  time.Time // when it ran, or worked, again
}

func (d Disturbance) String() string {
	text := d.What + " " + d.Target
	if d.Other != "" {
		text += " → " + d.Other
	}
	if d.Detail != "" {
		text += " (" + d.Detail + ")"
	}
	return fmt.Sprintf("%s for %s", text, d.Until.Sub(d.From).Round(time.Millisecond))
}

// Stop is a time in which nothing may be emitted: from the answer to a stop
// to the next request to start.
type Stop struct{ From, Until time.Time }

// Event is one message of the event stream.
type Event struct {
	Stored   time.Time // by the server
	Position uint64    // in the stream
	ID       string
	Type     string // the last word of its type: created, queued …
	Message  string
	Sequence int64
	Status   string
	Attempt  int // of an outcome that tells of one
	Claim    int64
	Delivery int
}

// Row is a message as Postgres holds it.
type Row struct {
	ID, Key, Scope, Status, ExternalID, LastError string
	Version, Claim                                int64
	Attempts, BudgetStart, ClaimsWithoutOutcome   int
	Created, Updated                              time.Time
}

// Attempt is a row of the attempts.
type Attempt struct {
	Message  string
	Number   int
	Claim    int64
	Delivery int
	Started  time.Time
	Status   int // 0: no answer
	Outcome  string
	Error    string
}

// View is what another place says of a message.
type View struct {
	ID, Status, ExternalID string
	Version                int64 // 0: it does not say
	Attempts               int   // of the API alone
}

// Leftover is something that should be gone.
type Leftover struct{ Where, What string }

// Rejected is an entry of the intake that was published and is none: with a
// publish's ack the stream has it, and nobody has read it yet.
type Rejected struct {
	ID, Key, Code string
	Stored        time.Time // when it was put aside
}

// Evidence is everything that is known.
type Evidence struct {
	Ops          []Op
	Requests     []Request
	UserRequests []UserRequest
	Disturbances []Disturbance
	Stops        []Stop

	Events    []Event
	Rows      []Row
	Attempts  []Attempt
	Leftovers []Leftover
	Rejected  []Rejected

	// The counts by status: what count(*) says, and what others keep.
	Counted, Kept, APICounts, RedisCounts map[string]int64

	API   map[string]View
	Redis map[string]View
}
