package events

import (
	"strings"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Headers of a W3C trace context, as they are written. Names of NATS headers
// are case-sensitive, those of the standard are not: any case is read.
const (
	HeaderTraceparent = "traceparent"
	HeaderTracestate  = "tracestate"
)

// TraceOf reads the trace context in a message's headers; an invalid one is
// none.
func TraceOf(headers map[string][]string) message.Trace {
	var parents, states []string
	for name, values := range headers {
		switch {
		case strings.EqualFold(name, HeaderTraceparent):
			parents = append(parents, values...)
		case strings.EqualFold(name, HeaderTracestate):
			states = append(states, values...)
		}
	}
	return message.ParseTrace(parents, states)
}

// withTrace adds a trace context to headers, which may be nil.
func withTrace(headers map[string]string, trace message.Trace) map[string]string {
	if trace.Parent == "" {
		return headers
	}
	if headers == nil {
		headers = make(map[string]string, 2)
	}
	headers[HeaderTraceparent] = trace.Parent
	if trace.State != "" {
		headers[HeaderTracestate] = trace.State
	}
	return headers
}
