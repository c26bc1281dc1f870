package message

import (
	"slices"
	"strings"
)

// Status is the state of a message.
type Status string

// The states. The last four are final; FAILED, CANCELLED and EXPIRED go back
// to PENDING by a user's retry alone.
const (
	// Pending waits for a tick. The dispatcher moves it on when it is due, or
	// expires it; a user may cancel it.
	Pending Status = "PENDING"
	// Queued has had its id emitted. The sender's outcome, written by the
	// recorder, moves it on.
	Queued Status = "QUEUED"
	// Retrying has failed at least once and another attempt is due at
	// NextAttemptAt. The sender's outcome moves it on; a user may cancel it
	// while that time is 5 s or more ahead.
	Retrying Status = "RETRYING"
	// Sent was answered with a 2xx. Nothing moves it on.
	Sent Status = "SENT"
	// Failed was refused for good, or its retries are used up.
	Failed Status = "FAILED"
	// Cancelled was called back by a user.
	Cancelled Status = "CANCELLED"
	// Expired was not delivered before ExpiresAt.
	Expired Status = "EXPIRED"
)

// Statuses lists every state, in the order of a message's life.
func Statuses() []Status {
	return []Status{Pending, Queued, Retrying, Sent, Failed, Cancelled, Expired}
}

// ParseStatus reads a state's name in any case.
func ParseStatus(text string) (Status, bool) {
	s := Status(strings.ToUpper(text))
	return s, slices.Contains(Statuses(), s)
}

// Final reports whether no component moves a message on from s.
func (s Status) Final() bool {
	switch s {
	case Sent, Failed, Cancelled, Expired:
		return true
	default:
		return false
	}
}

// EventType names what happened to a message; it is the third token of an
// event's subject.
type EventType string

// The event types.
const (
	EventCreated   EventType = "created"
	EventQueued    EventType = "queued"
	EventAttempted EventType = "attempted"
	EventSent      EventType = "sent"
	EventFailed    EventType = "failed"
	EventCancelled EventType = "cancelled"
	EventExpired   EventType = "expired"
	EventRejected  EventType = "rejected"
)

// EventTypes lists every event type, in the order of a message's life.
func EventTypes() []EventType {
	return []EventType{
		EventCreated, EventQueued, EventAttempted, EventSent,
		EventFailed, EventCancelled, EventExpired, EventRejected,
	}
}

// Transition is one change of state that the system knows. The guards of the SQL
// statements and the chart in docs/states.md come from these values.
type Transition struct {
	Name  string
	From  []Status
	To    Status
	Event EventType // what is published; empty for none
	By    string    // who makes it
}

// The transitions. A recorded 2xx wins over every other state, so Succeed
// leads from all of them.
var (
	Emit           = Transition{"emit", []Status{Pending}, Queued, EventQueued, "a tick of the dispatcher; in continuous mode also ingest, on the fast path"}
	Succeed        = Transition{"succeed", []Status{Pending, Queued, Retrying, Failed, Cancelled, Expired}, Sent, EventSent, "the recorder, for a 2xx"}
	Reschedule     = Transition{"reschedule", []Status{Queued, Retrying}, Retrying, EventAttempted, "the recorder, for a failed attempt with retries left"}
	Fail           = Transition{"fail", []Status{Queued, Retrying}, Failed, EventFailed, "the recorder, for a refusal or when no retries are left; the lease sweep after 20 claims without an outcome"}
	ExpireInFlight = Transition{"expire in flight", []Status{Queued, Retrying}, Expired, EventExpired, "the recorder, when expiresAt comes before the next attempt"}
	Expire         = Transition{"expire", []Status{Pending}, Expired, EventExpired, "the expirer"}
	Cancel         = Transition{"cancel", []Status{Pending, Retrying}, Cancelled, EventCancelled, "a user; from RETRYING only while the next attempt is 5 s or more ahead"}
	Redrive        = Transition{"redrive", []Status{Failed, Cancelled, Expired}, Pending, "", "a user"}
)

// Transitions lists every transition.
func Transitions() []Transition {
	return []Transition{Emit, Succeed, Reschedule, Fail, ExpireInFlight, Expire, Cancel, Redrive}
}

// Allows reports whether the transition leads on from s.
func (m Transition) Allows(s Status) bool {
	return slices.Contains(m.From, s)
}
