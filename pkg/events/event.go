package events

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Envelope is what a CloudEvent 1.0 has besides its data, in structured JSON
// mode (https://github.com/cloudevents/spec, version 1.0.2).
type Envelope struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	// Sequence is the message's version, padded so that it orders as text
	// (the CloudEvents sequence extension asks for that).
	Sequence string `json:"sequence"`
	// Traceparent and Tracestate are the CloudEvents extension for
	// distributed tracing: the context that the message came in with.
	Traceparent string `json:"traceparent,omitempty"`
	Tracestate  string `json:"tracestate,omitempty"`
}

// Event is a CloudEvent that tells of a message.
type Event struct {
	Envelope
	Data Data `json:"data"`
}

// Data is what an event tells: the message as it then was and, when a sender
// tells of it, the outcome that brought it there.
type Data struct {
	message.Message
	// ContentOmitted says that content, payload and metadata are left out of an
	// event that should have them, because it would be too large.
	ContentOmitted bool     `json:"contentOmitted,omitempty"`
	Outcome        *Outcome `json:"outcome,omitempty"`
}

// Outcome is what a sender reports of a delivery, for the recorder.
type Outcome struct {
	ClaimNumber     message.ClaimNumber `json:"claim"`             // of the delivery
	NextClaimNumber message.ClaimNumber `json:"nextClaim"`         // one more if a retry was scheduled, else the same
	Delivery        int                 `json:"delivery"`          // JetStream's count of this copy's deliveries
	Attempt         *message.Attempt    `json:"attempt,omitempty"` // nil when it was not tried
}

// EventBuilder builds the messages to publish for what happens to messages. It is safe for
// concurrent use.
type EventBuilder struct {
	topology    Topology
	fullContent bool
}

// NewEventBuilder returns an EventBuilder. With fullContent the events contain content,
// payload and metadata; without, everything else.
func NewEventBuilder(topology Topology, fullContent bool) EventBuilder {
	return EventBuilder{topology: topology, fullContent: fullContent}
}

// Transitions returns what to publish after transitions that Postgres made: one event for
// each message, and the change notifications.
func (c EventBuilder) Transitions(kind message.EventType, moved []message.Message) []OutboxMessage {
	return append(c.transitions(kind, moved), c.Changes(moved)...)
}

// transitions returns the events. An event's id is the message and its version, since a
// message reaches a version once.
func (c EventBuilder) transitions(kind message.EventType, moved []message.Message) []OutboxMessage {
	entries := make([]OutboxMessage, 0, len(moved)+1)
	for _, m := range moved {
		id := m.ID.String() + ".v" + strconv.FormatInt(m.Version, 10) + "." + string(kind)
		entries = append(entries, c.event(kind, id, m.UpdatedAt, Data{Message: m}))
	}
	return entries
}

// Claims returns what to publish after a claim: every id on the delivery queue, then the
// events, and the change notifications.
func (c EventBuilder) Claims(origin string, claimed []message.Message) []OutboxMessage {
	return append(c.claims(origin, claimed), c.Changes(claimed)...)
}

func (c EventBuilder) claims(origin string, claimed []message.Message) []OutboxMessage {
	entries := make([]OutboxMessage, 0, 2*len(claimed)+1)
	for _, m := range claimed {
		entries = append(entries, c.Delivery(origin, m))
	}
	return append(entries, c.transitions(message.EventQueued, claimed)...)
}

// Created returns what to publish for new messages: their events, what the claim publishes
// of those that the fast path claimed at once, and the change notifications.
func (c EventBuilder) Created(created []message.Message) []OutboxMessage {
	var claimed []message.Message
	first := make([]message.Message, len(created))
	for i, m := range created {
		if m.Status == message.Queued {
			claimed = append(claimed, m)
		}
		m.Status, m.Version, m.ClaimNumber, m.QueuedAt = message.Pending, 1, 0, nil
		first[i] = m
	}
	entries := append(c.transitions(message.EventCreated, first), c.claims(OriginFastPath, claimed)...)
	return append(entries, c.Changes(created)...)
}

// Delivery returns the message that puts an id on the delivery queue under its claim.
func (c EventBuilder) Delivery(origin string, m message.Message) OutboxMessage {
	claim := m.ClaimNumber.String()
	entry := OutboxMessage{
		Subject: c.topology.DeliverSubject(m.Destination, m.ID),
		MsgID:   m.ID.String() + "." + claim,
		Headers: withTrace(map[string]string{HeaderClaim: claim, HeaderOrigin: origin}, m.Trace),
		Data:    []byte(`{"id":"` + m.ID.String() + `","claim":` + claim + `}`),
	}
	if m.ClaimNumber == 1 && (origin == OriginTick || origin == OriginFastPath) {
		// Nothing can be there before it. If something is, it is a relay's
		// delivery, and this one comes late: it would take that one's place on
		// the queue, and be dropped at the gate.
		entry.Headers[natsjs.ExpectedLastSubjSeqHeader] = "0"
	}
	return entry
}

// Relayed returns the delivery that a relay publishes under a new claim number. after is the
// last sequence on its subject when the relay looked: a delivery that arrived since may be
// with a sender, and the relay must wait for it.
func (e OutboxMessage) Relayed(id message.ID, claim message.ClaimNumber, after uint64) OutboxMessage {
	e = e.ExpectLastSequence(after)
	number := claim.String()
	e.MsgID = id.String() + "." + number
	e.Headers[HeaderClaim], e.Headers[HeaderOrigin] = number, OriginRelay
	e.Data = []byte(`{"id":"` + id.String() + `","claim":` + number + `}`)
	return e
}

// Outcome returns the event of a sender's outcome; m is the message as the
// outcome leaves it.
func (c EventBuilder) Outcome(kind message.EventType, m message.Message, outcome Outcome) OutboxMessage {
	number := m.Attempts
	if outcome.Attempt != nil {
		number = outcome.Attempt.Number
	}
	id := strings.Join([]string{
		m.ID.String(), outcome.ClaimNumber.String(), strconv.Itoa(number), strconv.Itoa(outcome.Delivery), string(kind),
	}, ".")
	entry := c.event(kind, id, m.UpdatedAt, Data{Message: m, Outcome: &outcome})
	entry.Headers = withTrace(map[string]string{HeaderOutcome: "1"}, m.Trace)
	return entry
}

// largestEvent is the most that an event may weigh: NATS' default max_payload
// is 1 MiB. A server may take less (see lighter).
const largestEvent = 900 << 10

// event leaves content, payload and metadata out of an event that would be
// too large with them, or no JSON: a payload that somebody else stored must
// not stand in the way of the batch that it is in.
func (c EventBuilder) event(kind message.EventType, id string, at time.Time, data Data) OutboxMessage {
	if !c.fullContent {
		data.Message = data.WithoutContent()
	} else if len(data.Payload) > 0 && !json.Valid(data.Payload) {
		data.Message, data.ContentOmitted = data.WithoutContent(), true
	}
	event := Event{Envelope: c.envelope(kind, id, at), Data: data}
	event.Subject, event.Sequence = data.ID.String(), Sequence(data.Version)
	event.Traceparent, event.Tracestate = data.Trace.Parent, data.Trace.State
	body := event.appendJSON(make([]byte, 0, usualEvent))
	if c.fullContent && len(body) > largestEvent {
		event.Data.Message, event.Data.ContentOmitted = data.WithoutContent(), true
		body = event.appendJSON(make([]byte, 0, usualEvent))
	}
	return OutboxMessage{Subject: c.topology.EventSubject(kind, data.Destination), MsgID: id, Headers: withTrace(nil, data.Trace), Data: body}
}

func (c EventBuilder) envelope(kind message.EventType, id string, at time.Time) Envelope {
	return Envelope{
		SpecVersion:     "1.0",
		ID:              id,
		Source:          "/" + c.topology.Prefix(),
		Type:            c.topology.Prefix() + ".message." + string(kind),
		Time:            at.UTC(),
		DataContentType: "application/json",
	}
}

// usualEvent is the room that an event without content takes.
const usualEvent = 1024

// appendJSON writes what encoding/json would, without escaping HTML: a
// payload must not grow on its way.
func (e *Event) appendJSON(b []byte) []byte {
	b = append(b, `{"specversion":"`...)
	b = append(b, e.SpecVersion...)
	b = append(b, `","id":"`...)
	b = append(b, e.ID...)
	b = append(b, `","source":"`...)
	b = append(b, e.Source...)
	b = append(b, `","type":"`...)
	b = append(b, e.Type...)
	b = append(b, `","subject":"`...)
	b = append(b, e.Subject...)
	b = append(b, `","time":"`...)
	b = e.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","datacontenttype":"`...)
	b = append(b, e.DataContentType...)
	b = append(b, `","sequence":"`...)
	b = append(b, e.Sequence...)
	b = append(b, '"')
	b = message.Trace{Parent: e.Traceparent, State: e.Tracestate}.AppendMembers(b)
	b = e.Data.appendJSON(append(b, `,"data":`...))
	return append(b, '}')
}

func (d *Data) appendJSON(b []byte) []byte {
	b = d.AppendJSON(b)
	if d.ContentOmitted {
		b = append(b[:len(b)-1], `,"contentOmitted":true}`...)
	}
	if d.Outcome == nil {
		return b
	}
	b = append(b[:len(b)-1], `,"outcome":{"claim":`...)
	b = strconv.AppendInt(b, int64(d.Outcome.ClaimNumber), 10)
	b = strconv.AppendInt(append(b, `,"nextClaim":`...), int64(d.Outcome.NextClaimNumber), 10)
	b = strconv.AppendInt(append(b, `,"delivery":`...), int64(d.Outcome.Delivery), 10)
	if d.Outcome.Attempt != nil {
		b = d.Outcome.Attempt.AppendJSON(append(b, `,"attempt":`...))
	}
	return append(b, "}}"...)
}

// Sequence writes a version so that versions order as text.
func Sequence(version int64) string {
	digits := strconv.FormatInt(version, 10)
	return "0000000000"[min(len(digits), 10):] + digits
}
