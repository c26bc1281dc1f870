package sink_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pipeline/sink"
)

func post(t *testing.T, url, id, body string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Idempotency-Key", id)
	request.Header.Set("X-Dispatch-Attempt", "1")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func TestItShowsWhatArrivesAndAcceptsIt(t *testing.T) {
	t.Parallel()
	var shown strings.Builder
	server := httptest.NewServer(sink.New(sink.Options{Out: &shown}))
	defer server.Close()

	response := post(t, server.URL, "id-1", `{"to":"+905551111111","content":"he\u001b[31mllo"}`)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, response.StatusCode)
	require.Contains(t, string(body), `"messageId":"`)
	require.Contains(t, shown.String(), "→ 202")
	require.Contains(t, shown.String(), "+905551111111  he·[31mllo", "control characters don't reach the terminal")
}

func TestItFailsAsToldForEachMessage(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(sink.New(sink.Options{FailFirst: 2, Status: 429, RetryAfter: 3 * time.Second}))
	defer server.Close()

	for _, id := range []string{"a", "b"} {
		for range 2 {
			response := post(t, server.URL, id, `{}`)
			require.Equal(t, 429, response.StatusCode)
			require.Equal(t, "3", response.Header.Get("Retry-After"))
		}
		require.Equal(t, http.StatusAccepted, post(t, server.URL, id, `{}`).StatusCode)
	}
}
