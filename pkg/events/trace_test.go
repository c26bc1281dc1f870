package events_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestATraceIsReadInAnyCase(t *testing.T) {
	t.Parallel()
	want := message.Trace{Parent: traceparent, State: "a=1"}
	require.Equal(t, want, events.TraceOf(map[string][]string{"traceparent": {traceparent}, "tracestate": {"a=1"}}))
	require.Equal(t, want, events.TraceOf(map[string][]string{"Traceparent": {traceparent}, "TraceState": {"a=1"}, "X-Own": {"1"}}))
	require.Zero(t, events.TraceOf(map[string][]string{"Traceparent": {traceparent}, "traceparent": {traceparent}}), "which of the two?")
	require.Zero(t, events.TraceOf(nil))
}

func TestEverythingThatIsPublishedCarriesTheTrace(t *testing.T) {
	t.Parallel()
	builder := events.NewEventBuilder(events.NewTopology("dispatch", 1), false)
	m := sample(t)
	m.Trace = message.Trace{Parent: traceparent, State: "a=1"}
	rejected := rejection()
	rejected.Headers["Traceparent"], rejected.Headers["Tracestate"] = []string{traceparent}, []string{"a=1"}
	entries := append(builder.Claims(events.OriginTick, []message.Message{m}), builder.ScheduledRetry(m), builder.Rejection(rejected, 1<<20)[1],
		builder.Outcome(message.EventSent, m, events.Outcome{ClaimNumber: 1}))
	for _, entry := range entries {
		if entry.Subject == "dispatch.changed" { // it is about many messages
			continue
		}
		require.Equal(t, traceparent, entry.Headers["traceparent"], entry.Subject)
		require.Equal(t, "a=1", entry.Headers["tracestate"], entry.Subject)
		var event events.Envelope
		require.NoError(t, json.Unmarshal(entry.Data, &event))
		if event.SpecVersion != "" {
			require.Equal(t, message.Trace{Parent: event.Traceparent, State: event.Tracestate}, m.Trace, entry.Subject)
		}
	}
}
