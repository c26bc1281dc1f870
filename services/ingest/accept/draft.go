package accept

import (
	"errors"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Draft is a request to store a message, not yet validated.
type Draft struct {
	Body        []byte
	Scope       string // the namespace of its idempotency key
	Key         KeyHeader
	Destination string     // from the subject; empty: the body's
	ID          message.ID // zero: a new one
	At          time.Time  // the time that its deadlines are compared with; zero: now
	Trace       message.Trace
}

// KeyHeader is the header that may carry an idempotency key.
type KeyHeader struct {
	Name   string
	Values []string
}

// NATSScope returns the namespace of idempotency keys that arrive over NATS. A
// key means the same on the intake stream and in a request.
func NATSScope(topology events.Topology) string { return "nats:" + topology.Prefix() }

// idStep is the resolution of the time in an id. The ids of one call are that
// far apart, so they sort in the order of the drafts.
const idStep = 250 * time.Nanosecond

// parse validates a draft, the index-th of its call, and makes a message of it.
func (a *Acceptor) parse(d Draft, index int) (message.Message, error) {
	if d.At.IsZero() {
		d.At = a.now()
	}
	meta, invalidFields := d.meta()
	request, err := a.rules.ParseWith(d.Body, d.At, meta)
	var invalid *message.ValidationError
	switch {
	case errors.As(err, &invalid):
		invalidFields = append(invalidFields, invalid.Errors...)
	case err != nil:
		return message.Message{}, err
	}
	if len(invalidFields) > 0 {
		return message.Message{}, &message.ValidationError{Errors: invalidFields}
	}
	if d.ID == (message.ID{}) {
		d.ID = message.NewID(d.At.Add(time.Duration(index) * idStep))
	}
	m := request.Message(d.ID, d.Scope)
	m.Trace = d.Trace
	return m, nil
}

// meta returns what came with the body but is not part of it, and what is invalid
// in it.
func (d Draft) meta() (message.RequestMeta, []message.FieldError) {
	meta := message.RequestMeta{Destination: d.Destination, KeyHeader: d.Key.Name}
	switch {
	case len(d.Key.Values) > 1:
		return meta, []message.FieldError{{Field: d.Key.Name, Code: message.CodeDuplicateField, Message: "must not be given more than once"}}
	case len(d.Key.Values) == 1 && d.Key.Values[0] == "":
		return meta, []message.FieldError{{Field: d.Key.Name, Code: message.CodeBlank, Message: "must not be empty"}}
	case len(d.Key.Values) == 1:
		meta.IdempotencyKey = d.Key.Values[0]
	}
	return meta, nil
}
