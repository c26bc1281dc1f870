package e2e_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

const (
	trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
)

// TestATraceGoesAllTheWay sends messages through every door; each comes out
// at the webhook, and appears in events with the context it came in with.
func TestATraceGoesAllTheWay(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	api := w.runAll()
	doors := map[string]func(body, parent string){
		"HTTP": func(body, parent string) {
			api.post(t, body, "traceparent", parent, "tracestate", state)
		},
		"HTTP batch": func(body, parent string) {
			status, _, answer := api.request(t, http.MethodPost, "/api/v1/messages/batch", "["+body+"]", "Traceparent", parent, "Tracestate", state)
			require.Equal(t, http.StatusOK, status, "%s", answer)
		},
		"HTTP stream": func(body, parent string) {
			status, _, answer := api.request(t, http.MethodPost, "/api/v1/messages/batch", body,
				"Content-Type", "application/x-ndjson", "traceparent", parent, "tracestate", state)
			require.Equal(t, http.StatusOK, status, "%s", answer)
		},
		"NATS intake": func(body, parent string) {
			w.publishIntake("dispatch.intake.default", body, "traceparent", parent, "tracestate", state)
		},
		"NATS request": func(body, parent string) {
			w.askMessages("create", body, "Traceparent", parent, "Tracestate", state) // as some clients write it
		},
	}
	for name, send := range doors {
		for about, parent := range map[string]string{"good": trace, "invalid": "00-" + trace, "none": ""} {
			send(`{"to":"+905551111111","content":"`+name+" "+about+`"}`, parent)
		}
	}
	testenv.Eventually(t, func() bool { return len(w.webhook.received("")) == 3*len(doors) })
	for _, m := range w.storedMessages() {
		w.awaitStatus(m.ID, message.Sent)
		var want message.Trace
		if m.Content[len(m.Content)-len("good"):] == "good" {
			want = message.Trace{Parent: trace, State: state}
		}
		sent := w.webhook.received(m.ID.String())
		require.Len(t, sent, 1)
		require.Equal(t, want, message.Trace{Parent: sent[0].Header.Get("traceparent"), State: sent[0].Header.Get("tracestate")}, m.Content)
		for _, event := range w.events(m.ID, 3) {
			require.Equal(t, want, message.Trace{Parent: event.Traceparent, State: event.Tracestate}, "%s of %s", event.Type, m.Content)
		}
	}
}

// TestARetryKeepsItsTrace has a second sender make the second attempt.
func TestARetryKeepsItsTrace(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	api, first := w.runIngest(), w.runSender()
	w.runDispatcher()
	w.webhook.respondWith(func(n int, _ call, rw http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	id := api.post(t, hello, "traceparent", trace)
	w.awaitCalls(id, 1)
	first.stop()
	w.runSender()
	w.awaitStatus(id, message.Sent)
	for _, sent := range w.webhook.received(id.String()) {
		require.Equal(t, trace, sent.Header.Get("traceparent"))
		require.Empty(t, sent.Header.Get("tracestate"))
	}
	_, _, answer := api.request(t, http.MethodGet, "/api/v1/messages/"+id.String(), "")
	var fields map[string]any
	require.NoError(t, json.Unmarshal(answer, &fields))
	require.NotContains(t, fields, "traceparent", "it is no field of the message")
}
