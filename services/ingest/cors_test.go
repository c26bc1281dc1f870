package ingest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A page of another origin may send requests, but its browser must not let it read
// the responses.
func TestNoOtherOriginIsAllowed(t *testing.T) {
	t.Parallel()
	const other = "https://elsewhere.example"
	open, closed := start(t), start(t, "API_KEYS", "shop:secret")
	check := func(r reply) reply {
		t.Helper()
		for name := range r.header {
			require.False(t, strings.HasPrefix(name, "Access-Control-"), "a %d with %s", r.status, name)
		}
		return r
	}
	ask := func(i *installation, method, path string, key ...string) {
		t.Helper()
		// A preflight request: a browser sends it without a key.
		preflight := check(i.send(http.MethodOptions, path, "", "Origin", other,
			"Access-Control-Request-Method", method, "Access-Control-Request-Headers", "authorization,content-type"))
		require.GreaterOrEqual(t, preflight.status, 400, "a preflight of %s %s", method, path)
		check(i.send(http.MethodOptions, path, "", append(key, "Origin", other)...))
		check(i.send(method, path, "", append(key, "Origin", other)...))
		check(i.send(method, path, hello, append(key, "Origin", other)...))
	}
	for name := range readSpec(open).operations() {
		method, path, _ := strings.Cut(name, " ")
		path = strings.NewReplacer("{id}", exampleID, "{file}", "rapidoc-min.js").Replace(path)
		ask(open, method, path)
		ask(closed, method, path, "X-API-Key", "secret")
	}
	ask(open, http.MethodGet, "/nothing")

	// A page may send this without a preflight. It is not JSON, so it is rejected.
	for _, simple := range []string{"text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"} {
		for _, path := range []string{messages, batches, bulkRetry, messages + "/" + exampleID + "/retry", "/api/v1/messaging/stop"} {
			check(open.send(http.MethodPost, path, hello, "Origin", other, "Content-Type", simple)).
				problem(http.StatusUnsupportedMediaType, "unsupported_media_type")
		}
	}
	require.Empty(t, open.list("").Data[1:], "what is stored is what was sent as JSON")
}
