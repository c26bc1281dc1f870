package receiver_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/receiver"
)

// post returns the answer's status, its Retry-After and its body.
func post(t *testing.T, url, id, body string) (status int, retryAfter, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Idempotency-Key", id)
	request.Header.Set("X-Dispatch-Attempt", "1")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header.Get("Retry-After"), string(data)
}

func TestItShowsWhatArrivesAndAcceptsIt(t *testing.T) {
	t.Parallel()
	var shown strings.Builder
	server := httptest.NewServer(receiver.New(receiver.Options{Out: &shown}))
	defer server.Close()

	status, _, body := post(t, server.URL, "id-1", `{"to":"+905551111111","content":"he\u001b[31mllo"}`)
	require.Equal(t, http.StatusAccepted, status)
	require.Contains(t, body, `"messageId":"`)
	require.Contains(t, shown.String(), "→ 202")
	require.Contains(t, shown.String(), "+905551111111  he·[31mllo", "control characters don't reach the terminal")
}

func TestItFailsAsToldForEachMessage(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(receiver.New(receiver.Options{FailFirst: 2, Status: 429, RetryAfter: 3 * time.Second}))
	defer server.Close()

	for _, id := range []string{"a", "b"} {
		for range 2 {
			status, retryAfter, _ := post(t, server.URL, id, `{}`)
			require.Equal(t, 429, status)
			require.Equal(t, "3", retryAfter)
		}
		status, _, _ := post(t, server.URL, id, `{}`)
		require.Equal(t, http.StatusAccepted, status)
	}
}
