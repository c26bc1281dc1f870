package events

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// UnknownDestination stands in the subjects of a rejection whose own subject
// named no possible destination.
const UnknownDestination = "unknown"

// Headers of a rejected intake message besides HeaderProblemCode and
// HeaderProblem.
const (
	// HeaderRejectedSubject is the subject on which it came in.
	HeaderRejectedSubject = "Dispatch-Subject"
	// HeaderRejectedMsgID is the Nats-Msg-Id with which it came in.
	HeaderRejectedMsgID = "Dispatch-Msg-Id"
	// HeaderTruncated is the message's length in bytes, if it had to be cut
	// to fit beside its problem.
	HeaderTruncated = "Dispatch-Truncated"
	// HeaderHeadersOmitted is how many headers were left out, if they had no
	// place beside the problem.
	HeaderHeadersOmitted = "Dispatch-Headers-Omitted"
)

// Rejection is an intake message that can't be accepted.
type Rejection struct {
	Subject  string
	Sequence uint64    // of the intake stream
	Stored   time.Time // by the intake stream
	Headers  map[string][]string
	Data     []byte
	Code     string          // a stable word for what is wrong with it
	Problem  json.RawMessage // and the problem+json document
}

// headerAllowance is what a published message weighs besides its headers and
// data.
const headerAllowance = 128

// longestProblem bounds the problem in a header and an event; a longer one is
// left out, its code tells enough.
const longestProblem = 16 << 10

// Rejection returns what a rejection publishes: the message as it came, with
// its problem, for the REJECTED stream, and the event that says so. limit is
// the most that NATS takes, as of nats.Conn.MaxPayload: a message that does
// not fit together with its problem is compressed, and cut as a last resort.
// Repeating it is harmless within the stream's window.
func (c EventBuilder) Rejection(r Rejection, limit int64) []OutboxMessage {
	destination := c.topology.IntakeDestination(r.Subject)
	if !message.DestinationPattern.MatchString(destination) {
		destination = UnknownDestination
	}
	if len(r.Problem) > longestProblem {
		r.Problem = nil
	}
	id := message.DerivedID(r.Stored, r.Sequence, r.Subject).String()
	kept := OutboxMessage{
		Subject: c.topology.RejectedSubject(destination),
		MsgID:   id,
		Headers: rejectedHeaders(r),
		Data:    r.Data,
	}
	kept.fitHeaders(int(limit))
	kept.fit(int(limit))
	return []OutboxMessage{kept, c.rejectedEvent(r, id, destination)}
}

// rejectedHeaders keeps a message's own headers. Those of JetStream are
// orders to the stream it was for, and would be obeyed, or refused, again.
func rejectedHeaders(r Rejection) map[string]string {
	headers := make(map[string]string, len(r.Headers)+4)
	for name, values := range r.Headers {
		if !strings.HasPrefix(strings.ToLower(name), "nats-") {
			headers[name] = strings.Join(values, ", ")
		}
	}
	if ids := r.Headers[natsjs.MsgIDHeader]; len(ids) > 0 {
		headers[HeaderRejectedMsgID] = ids[0]
	}
	headers[HeaderRejectedSubject] = r.Subject
	headers[HeaderProblemCode] = r.Code
	if r.Problem != nil {
		headers[HeaderProblem] = oneLine(string(r.Problem))
	}
	return headers
}

// longestHeaders is what the headers of a message may weigh in JetStream,
// whatever max_payload is.
const longestHeaders = 64<<10 - 1

// fitHeaders leaves out a message's own headers where they have no place beside
// what is said of it. Those that say it stay.
func (e *OutboxMessage) fitHeaders(limit int) {
	limit = min(limit, longestHeaders) - headerAllowance - len(e.MsgID)
	if e.headersSize() <= limit {
		return
	}
	ours := map[string]string{}
	for _, name := range []string{HeaderRejectedSubject, HeaderProblemCode, HeaderProblem, HeaderRejectedMsgID} {
		if value, found := e.Headers[name]; found && len(value) <= limit/4 {
			ours[name] = value
		}
	}
	ours[HeaderHeadersOmitted] = strconv.Itoa(len(e.Headers) - len(ours))
	e.Headers = ours
}

func (e *OutboxMessage) headersSize() int {
	size := 0
	for name, value := range e.Headers {
		size += header(name, value)
	}
	return size
}

func (e *OutboxMessage) fit(limit int) {
	room := limit - headerAllowance - len(e.MsgID) - e.headersSize()
	if len(e.Data) <= room {
		return
	}
	const encoding = "Content-Encoding"
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, _ = writer.Write(e.Data) // a buffer takes everything
	_ = writer.Close()
	if e.Headers[encoding] == "" && packed.Len() <= room-len(encoding)-len("gzip: \r\n") {
		e.Headers[encoding] = "gzip"
		e.Data = packed.Bytes()
		return
	}
	whole := strconv.Itoa(len(e.Data))
	e.Headers[HeaderTruncated] = whole
	e.Data = e.Data[:max(room-len(HeaderTruncated)-len(whole)-len(": \r\n"), 0)]
}

// rejectedEvent tells of a rejection. There is no message, so the subject is
// the id that it would have had.
func (c EventBuilder) rejectedEvent(r Rejection, id, destination string) OutboxMessage {
	type data struct {
		Destination    string          `json:"destination"`
		Code           string          `json:"code"`
		Problem        json.RawMessage `json:"problem,omitempty"`
		StreamSequence uint64          `json:"streamSequence"`
	}
	envelope := c.envelope(message.EventRejected, id+"."+string(message.EventRejected), r.Stored)
	envelope.Subject, envelope.Sequence = id, Sequence(1)
	trace := TraceOf(r.Headers)
	envelope.Traceparent, envelope.Tracestate = trace.Parent, trace.State
	// Without escapes for HTML: a problem must not grow on its way.
	body := message.EncodeJSON(struct {
		Envelope
		Data data `json:"data"`
	}{envelope, data{destination, r.Code, r.Problem, r.Sequence}})
	return OutboxMessage{Subject: c.topology.EventSubject(message.EventRejected, destination), MsgID: envelope.ID, Headers: withTrace(nil, trace), Data: body}
}

// oneLine makes text fit for a header.
func oneLine(text string) string {
	return strings.Join(strings.Fields(text), " ")
}
