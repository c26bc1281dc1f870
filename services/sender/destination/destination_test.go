package destination

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestARequestIsThatOfTheContract(t *testing.T) {
	t.Parallel()
	d := newDestination(t, func(s *Settings) {
		s.URL = "https://user:pass@receiver/hook?key=1"
		s.Secret = "whsec_b25l whsec_dHdv"
		s.Headers = "X-Tenant: 7"
	})
	m := message.Message{ID: message.NewID(time.Now()), To: "+905551111111", Content: "<ol\u00e1> & \"co\"", Destination: "default"}
	m.Trace = message.Trace{Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", State: "a=1"}
	got := d.Request(m, 3, time.Unix(1_700_000_000, 0))

	require.Equal(t, "https://receiver/hook?key=1", got.URL.String())
	require.Equal(t, 5*time.Second, got.Timeout)
	require.JSONEq(t, `{"to":"+905551111111","content":"<olá> & \"co\""}`, string(got.Body))
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.Equal(t, "identity", got.Header.Get("Accept-Encoding"))
	require.Equal(t, m.ID.String(), got.Header.Get("Idempotency-Key"))
	require.Equal(t, m.ID.String(), got.Header.Get("webhook-id"))
	require.Equal(t, "1700000000", got.Header.Get("webhook-timestamp"))
	require.Len(t, strings.Fields(got.Header.Get("webhook-signature")), 2)
	require.Regexp(t, `^message-dispatcher/\S+$`, got.Header.Get("User-Agent"))
	require.Equal(t, "3", got.Header.Get("X-Dispatch-Attempt"))
	require.Equal(t, m.Trace.Parent, got.Header.Get("traceparent"))
	require.Equal(t, m.Trace.State, got.Header.Get("tracestate"))
	require.Equal(t, "7", got.Header.Get("X-Tenant"))
	require.Equal(t, "Basic dXNlcjpwYXNz", got.Header.Get("Authorization"))

	m.Payload = []byte("{ \"as\":\t\"it is\" }")
	m.Trace = message.Trace{}
	got = d.Request(m, 1, time.Now())
	require.Equal(t, string(m.Payload), string(got.Body))
	require.Empty(t, got.Header.Get("traceparent"))
}

func TestRequestsShareNoHeader(t *testing.T) {
	t.Parallel()
	d := newDestination(t, func(s *Settings) { s.Headers = "X-Tenant: 7" })
	first := d.Request(message.Message{}, 1, time.Now())
	first.Header.Del("X-Tenant")
	require.Equal(t, "7", d.Request(message.Message{}, 1, time.Now()).Header.Get("X-Tenant"))
}

func TestTheBodySaysWhatTheMessageDoes(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "plain", "\"\\/<&>\u2028", "\x00\b\f\n\r\t\x1f\x7f", "ol\u00e1 \U0001F600", "bad \xff"} {
		var got map[string]string
		require.NoError(t, json.Unmarshal(requestBody(message.Message{To: "+1", Content: content}), &got))
		require.Equal(t, map[string]string{"to": "+1", "content": strings.ToValidUTF8(content, "\uFFFD")}, got)
	}
}
