package ingest_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/ingest"
)

func TestAKeyIsAskedForEverywhereButByProbes(t *testing.T) {
	t.Parallel()
	hash := sha256.Sum256([]byte("hashed-secret"))
	i := start(t, "API_KEYS", "shop:shop-secret, crm:"+hex.EncodeToString(hash[:])+" ,bare-secret")
	paths := []string{messages, statusPath, "/metrics", "/nothing", messages + "/x"}
	for _, path := range paths {
		refused := i.send(http.MethodGet, path, "")
		refused.problem(http.StatusUnauthorized, "unauthorized")
		require.Equal(t, `Bearer realm="dispatch"`, refused.header.Get("WWW-Authenticate"))
		for _, wrong := range []string{"Bearer wrong", "Bearer ", "Basic c2hvcDpzaG9wLXNlY3JldA==", "shop-secret", "Bearer shop:shop-secret", "Bearer " + hex.EncodeToString(hash[:])} {
			refused := i.send(http.MethodGet, path, "", "Authorization", wrong)
			refused.problem(http.StatusUnauthorized, "unauthorized")
			require.NotEmpty(t, refused.header.Get("WWW-Authenticate"))
			require.NotContains(t, string(refused.body), "secret")
		}
	}
	for _, headers := range [][]string{
		{"Authorization", "Bearer shop-secret"}, {"Authorization", "bearer hashed-secret"}, {"X-API-Key", "bare-secret"},
	} {
		i.post(hello, headers...)
		require.Equal(t, http.StatusOK, i.send(http.MethodGet, "/metrics", "", headers...).status)
		require.Equal(t, http.StatusOK, i.send(http.MethodGet, messages, "", append(headers, "Host", "dispatch.example.com")...).status)
		i.send(http.MethodPost, "/api/v1/messaging/stop", "", append(headers, "Origin", "https://example.com")...).
			problem(http.StatusServiceUnavailable, "control_unavailable")
	}
	require.Equal(t, http.StatusOK, i.send(http.MethodGet, "/health", "").status)
	require.Equal(t, http.StatusOK, i.send(http.MethodGet, "/health/ready", "").status)
}

func TestAKeyIsAskedForBeforeABodyIsRead(t *testing.T) {
	t.Parallel()
	i := start(t, "API_KEYS", "secret")
	i.send(http.MethodPost, messages, strings.Repeat("x", 30<<20)).problem(http.StatusUnauthorized, "unauthorized")
}

func TestIdempotencyKeysBelongToAnAPIKey(t *testing.T) {
	t.Parallel()
	i := start(t, "API_KEYS", "shop:one,shop:two,crm:three")
	post := func(key string) message.Message {
		r := i.send(http.MethodPost, messages, hello, "Idempotency-Key", "k", "X-API-Key", key)
		return r.message(map[bool]int{true: http.StatusOK, false: http.StatusCreated}[r.header.Get("Idempotent-Replayed") == "true"])
	}
	first := post("one")
	require.Equal(t, first.ID, post("two").ID, "two keys of one name are one caller")
	require.NotEqual(t, first.ID, post("three").ID)
}

// A browser on this machine may show pages that try to send requests.
func TestWithoutKeysNoWebPageGetsIn(t *testing.T) {
	t.Parallel()
	i := start(t)
	for _, host := range []string{"localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080"} {
		i.post(hello, "Host", host)
	}
	for _, host := range []string{"evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080", "0.0.0.0", "10.0.0.1", "[::2]"} {
		for _, path := range []string{messages, statusPath, "/metrics", "/health", "/nothing"} {
			i.send(http.MethodGet, path, "", "Host", host, "X-Forwarded-Host", "localhost").problem(http.StatusForbidden, "host_not_allowed")
		}
		i.send(http.MethodPost, messages, hello, "Host", host).problem(http.StatusForbidden, "host_not_allowed")
	}
	stop := "/api/v1/messaging/stop"
	for _, fromAPage := range [][]string{
		{"Content-Type", "application/x-www-form-urlencoded"},
		{"Content-Type", "text/plain"},
		{"Origin", "https://evil.example"},
		{"Origin", "null"},
		{"Sec-Fetch-Site", "cross-site"},
	} {
		i.send(http.MethodPost, stop, "", fromAPage...).problem(http.StatusUnsupportedMediaType, "unsupported_media_type")
	}
	i.send(http.MethodOptions, stop, "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST").
		problem(http.StatusMethodNotAllowed, "method_not_allowed")
	for _, fromHere := range [][]string{nil, {"Content-Type", "application/json", "Origin", i.url}} {
		i.send(http.MethodPost, stop, "", fromHere...).problem(http.StatusServiceUnavailable, "control_unavailable")
	}
}

func TestEveryInvalidSettingIsReported(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  settings.Environment
		want []string
	}{
		"beyond loopback without keys": {settings.Environment{"HTTP_ADDR": "0.0.0.0:8080"}, []string{"HTTP_ADDR"}},
		"all interfaces without keys":  {settings.Environment{"HTTP_ADDR": ":8080"}, []string{"HTTP_ADDR"}},
		"all wrong": {
			settings.Environment{
				"HTTP_ADDR": "here", "MAX_CONTENT_LENGTH": "0", "MAX_PAYLOAD_BYTES": "-1", "WEBHOOK_RECIPIENT": "fax",
				"EVENT_CONTENT": "some", "API_KEYS": "a:,b", "SHUTDOWN_TIMEOUT": "0", "NATS_REPLICAS": "2",
			},
			[]string{"HTTP_ADDR", "MAX_CONTENT_LENGTH", "MAX_PAYLOAD_BYTES", "WEBHOOK_RECIPIENT", "EVENT_CONTENT", "API_KEYS", "SHUTDOWN_TIMEOUT", "NATS_REPLICAS"},
		},
		"events too large":    {settings.Environment{"EVENT_CONTENT": "full", "MAX_PAYLOAD_BYTES": "1000000"}, []string{"EVENT_CONTENT"}},
		"a key of two names":  {settings.Environment{"API_KEYS": "a:same,b:same"}, []string{"API_KEYS"}},
		"a key with a space":  {settings.Environment{"API_KEYS": "to p"}, []string{"API_KEYS"}},
		"a name with a colon": {settings.Environment{"API_KEYS": "na me:secret"}, []string{"API_KEYS"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.set["DATABASE_URL"] = "postgres://localhost/x"
			_, err := settings.Parse[ingest.Config](c.set)
			var invalid *settings.ValidationErrors
			require.ErrorAs(t, err, &invalid)
			var got []string
			for _, m := range invalid.All {
				got = append(got, m.Variable)
			}
			require.ElementsMatch(t, c.want, got)
			require.NotContains(t, err.Error(), "same")
			require.NotContains(t, err.Error(), "secret")
		})
	}
	cfg, err := settings.Parse[ingest.Config](settings.Environment{
		"DATABASE_URL": "postgres://localhost/x", "HTTP_ADDR": "0.0.0.0:8080", "API_KEYS": "a:b",
	})
	require.NoError(t, err)
	require.Equal(t, 160, cfg.MaxContentLength)
}

func TestATakenPortEndsTheStart(t *testing.T) {
	t.Parallel()
	i := start(t)
	cfg, err := settings.Parse[ingest.Config](settings.Environment{
		"DATABASE_URL": "postgres://127.0.0.1:1/x", "HTTP_ADDR": strings.TrimPrefix(i.url, "http://"), "NATS_URL": "nats://127.0.0.1:1",
	})
	require.NoError(t, err)
	require.ErrorContains(t, ingest.Run(context.Background(), cfg, zap.NewNop()), "HTTP_ADDR")
}
