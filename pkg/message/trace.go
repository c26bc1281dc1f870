package message

import (
	"regexp"
	"strings"
)

// Trace is the W3C trace context that came in with a message. It goes out
// again with everything that the message leads to, unchanged: no span is made
// here. The zero value is no context.
type Trace struct {
	Parent string // the traceparent header, of version 00
	State  string // the tracestate header, empty for none
}

// AppendMembers appends the context to a JSON object that is being written, as
// the members traceparent and tracestate with a comma before each; nothing for
// what there is not.
func (t Trace) AppendMembers(b []byte) []byte {
	b = appendOptional(b, `,"traceparent":`, t.Parent)
	return appendOptional(b, `,"tracestate":`, t.State)
}

// Limits of a trace context (https://www.w3.org/TR/trace-context/).
const (
	traceparentLength = 55  // of version 00; a higher version may be longer
	maxTraceMembers   = 32  // list members of a tracestate
	maxTraceState     = 512 // bytes that anybody has to carry on; what exceeds them is cut
)

var (
	traceparentPattern = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
	traceMemberPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$`)
)

// ParseTrace reads the values of the headers traceparent and tracestate, each
// as often as it was given. As the standard has it, a traceparent that is
// invalid, or was given twice, is as good as none and takes the tracestate
// with it; an invalid tracestate is dropped alone.
func ParseTrace(parents, states []string) Trace {
	if len(parents) != 1 {
		return Trace{}
	}
	parent, ok := readTraceparent(parents[0])
	if !ok {
		return Trace{}
	}
	return Trace{Parent: parent, State: readTracestate(states)}
}

// readTraceparent returns a traceparent as version 00, which is the highest
// that is known here: of a higher one, only the part that both share is.
func readTraceparent(text string) (string, bool) {
	text = strings.Trim(text, " \t")
	if len(text) < traceparentLength {
		return "", false
	}
	shared, rest := text[:traceparentLength], text[traceparentLength:]
	version := shared[:2]
	switch {
	case !traceparentPattern.MatchString(shared), version == "ff",
		shared[3:35] == strings.Repeat("0", 32), shared[36:52] == strings.Repeat("0", 16),
		version == "00" && rest != "", rest != "" && rest[0] != '-':
		return "", false
	case version == "00":
		return strings.Clone(shared), true
	}
	return "00" + shared[2:], true
}

// readTracestate combines the headers to one list. One that is too long loses
// members from its end, the oldest ones.
func readTracestate(values []string) string {
	var list strings.Builder
	members := 0
	full := false
	for member := range strings.SplitSeq(strings.Join(values, ","), ",") {
		member = strings.Trim(member, " \t")
		if member == "" {
			continue
		}
		if members++; members > maxTraceMembers || !traceMemberPattern.MatchString(member) {
			return ""
		}
		if full = full || list.Len()+len(",")+len(member) > maxTraceState; full {
			continue
		}
		if list.Len() > 0 {
			list.WriteByte(',')
		}
		list.WriteString(member)
	}
	return list.String()
}
