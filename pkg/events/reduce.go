package events

import (
	"encoding/json"
	"unicode/utf8"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Reduction is how much of an event is left out.
type Reduction int

const (
	// Unreduced leaves out nothing.
	Unreduced Reduction = iota
	// WithoutContent leaves out content, payload and metadata.
	WithoutContent
	// Smallest also leaves out the webhook's response and the problem of a rejection, and
	// shortens errors. What is recorded stays.
	Smallest
)

// longestText is what is left of an error in the lightest event.
const longestText = 200

// Size is what NATS holds against max_payload: the data and the headers.
func (e OutboxMessage) Size() int64 {
	const frame = len("NATS/1.0\r\n\r\n")
	size := frame + header(natsjs.MsgIDHeader, e.MsgID) + len(e.Data)
	for name, value := range e.Headers {
		size += header(name, value)
	}
	return int64(size)
}

func header(name, value string) int { return len(name) + len(": \r\n") + len(value) }

// Reduced returns an event with less in it, and marks that in its data. An event that is too
// large for NATS must not be missing, since the recorder records outcomes from events. Other
// messages are returned unchanged.
func (e OutboxMessage) Reduced(w Reduction) OutboxMessage {
	if w == Unreduced || e.IsDelivery() {
		return e
	}
	var event, data map[string]json.RawMessage
	if json.Unmarshal(e.Data, &event) != nil || json.Unmarshal(event["data"], &data) != nil || data == nil {
		return e
	}
	for _, name := range []string{"content", "payload", "metadata"} {
		if _, found := data[name]; found {
			delete(data, name)
			data["contentOmitted"] = json.RawMessage("true")
		}
	}
	if w > WithoutContent {
		delete(data, "problem")
		shorten(data, "lastError")
		within(data, "outcome", func(outcome map[string]json.RawMessage) {
			within(outcome, "attempt", func(attempt map[string]json.RawMessage) {
				delete(attempt, "response")
				shorten(attempt, "error")
			})
		})
	}
	event["data"] = message.EncodeJSON(data)
	e.Data = message.EncodeJSON(event)
	return e
}

// within changes an object in another.
func within(object map[string]json.RawMessage, name string, change func(map[string]json.RawMessage)) {
	var inner map[string]json.RawMessage
	if json.Unmarshal(object[name], &inner) == nil && inner != nil {
		change(inner)
		object[name] = message.EncodeJSON(inner)
	}
}

// shorten cuts a text to a number of bytes.
func shorten(object map[string]json.RawMessage, name string) {
	var text string
	if json.Unmarshal(object[name], &text) != nil || len(text) <= longestText {
		return
	}
	end := longestText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	object[name] = message.EncodeJSON(text[:end])
}
