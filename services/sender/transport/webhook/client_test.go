package webhook

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

func TestARequestIsWhatTheSenderHasMade(t *testing.T) {
	t.Parallel()
	overEachServer(t, func(t *testing.T, handling func(http.HandlerFunc, ...setting) *target) {
		var got *http.Request
		var body []byte
		c := handling(func(_ http.ResponseWriter, r *http.Request) {
			got = r
			body, _ = io.ReadAll(r.Body)
		})
		c.header = http.Header{"Idempotency-Key": {"a"}, "X-Tenant": {"7", "8"}, "User-Agent": {"x"}}
		require.True(t, c.sendBody(t.Context(), []byte("unchanged: \t\r\n\x00\xff")).delivered())
		require.Equal(t, http.MethodPost, got.Method)
		require.Equal(t, "/hook?key=1", got.RequestURI)
		require.Equal(t, c.to.Host, got.Host)
		require.Equal(t, "a", got.Header.Get("Idempotency-Key"))
		require.Equal(t, []string{"7", "8"}, got.Header["X-Tenant"])
		require.Equal(t, "x", got.Header.Get("User-Agent"))
		require.Equal(t, "unchanged: \t\r\n\x00\xff", string(body))
		require.EqualValues(t, len(body), got.ContentLength)
	})
}

// net/http repeats a POST by itself if it has an Idempotency-Key and a reused
// connection closes before the response.
func TestAConnectionThatClosesWithoutAResponseCostsOnePost(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overEachServer(t, func(t *testing.T, handling func(http.HandlerFunc, ...setting) *target) {
				var posts atomic.Int32
				c := handling(func(rw http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					if posts.Add(1) == 1 {
						return // keeps the connection
					}
					conn, _, err := http.NewResponseController(rw).Hijack()
					if err == nil {
						_ = conn.Close()
					}
				})
				c.header = http.Header{name: {"1"}}
				require.True(t, c.send(t.Context()).delivered())
				a := c.send(t.Context())
				require.Zero(t, a.status)
				require.Equal(t, "connection closed without a response", a.text)
				require.EqualValues(t, 2, posts.Load())
			})
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	overEachServer(t, func(t *testing.T, handling func(http.HandlerFunc, ...setting) *target) {
		var posts atomic.Int32
		c := handling(func(rw http.ResponseWriter, r *http.Request) {
			posts.Add(1)
			http.Redirect(rw, r, "/elsewhere", http.StatusTemporaryRedirect)
		})
		a := c.send(t.Context())
		require.Equal(t, 307, a.status)
		require.Equal(t, "/elsewhere", a.header.Get("Location"))
		require.EqualValues(t, 1, posts.Load())
	})
}

func TestTheTimeoutCoversTheHeader(t *testing.T) {
	t.Parallel()
	overEachServer(t, func(t *testing.T, handling func(http.HandlerFunc, ...setting) *target) {
		release := make(chan struct{})
		c := handling(func(http.ResponseWriter, *http.Request) { <-release })
		t.Cleanup(func() { close(release) })
		c.timeout = 50 * time.Millisecond
		a := c.send(t.Context())
		require.Zero(t, a.status)
		require.Equal(t, "timeout after 50ms", a.text)
		require.GreaterOrEqual(t, a.took, 50*time.Millisecond)
	})
}

func TestABodyThatHangsIsCutOff(t *testing.T) {
	t.Parallel()
	require.Equal(t, 2*time.Second, transport.BodyTimeout, "as documented")
	overEachServer(t, func(t *testing.T, handling func(http.HandlerFunc, ...setting) *target) {
		release := make(chan struct{})
		c := handling(func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(rw, "early")
			_ = http.NewResponseController(rw).Flush()
			<-release
		}, briefly)
		t.Cleanup(func() { close(release) })
		a := c.send(t.Context())
		require.Equal(t, 202, a.status)
		require.Equal(t, "early", a.body)
		require.GreaterOrEqual(t, a.took, 100*time.Millisecond)
	})
}

func TestHugeAndEndlessBodiesCostLittle(t *testing.T) {
	t.Parallel()
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for name, chunks := range map[string]int{"10 MB": 160, "endless": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := handledBy(t, func(rw http.ResponseWriter, _ *http.Request) {
				for range chunks {
					if _, err := rw.Write(chunk); err != nil {
						return
					}
				}
			})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a := c.send(t.Context())
			runtime.ReadMemStats(&after)
			require.True(t, a.delivered())
			require.Len(t, a.body, transport.MaxBody)
			require.Less(t, a.took, transport.BodyTimeout)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20))
		})
	}
}

func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
		c := receiving(saying(t, ok))
		for range 20 {
			require.True(t, c.send(t.Context()).delivered())
		}
		require.EqualValues(t, 1, c.connections.Load())
	})
}

func TestWhatGoesWrongIsSaidWithoutSecrets(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := listener.Addr().String()
	require.NoError(t, listener.Close())

	secured := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secured.Close)
	for _, c := range []struct {
		url, want string
		notSent   bool
	}{
		{"http://user:hunter2@" + nobody + "/?token=hunter2", "connection refused", true},
		{"http://user:hunter2@no.such.host.invalid/?token=hunter2", "DNS lookup failed", true},
		{strings.Replace(secured.URL, "://", "://user:hunter2@", 1), "TLS: ", true},
		{listen(t, nil, sayingOnce(t, "HTTP/1.1 abc\r\n\r\n")).url + "&token=hunter2", "malformed HTTP", false},
		{listen(t, nil, sayingOnce(t, "")).url + "&token=hunter2", "connection closed without a response", false},
	} {
		a := newTarget(t, c.url).send(t.Context())
		require.Zero(t, a.status, c.url)
		require.Contains(t, a.text, c.want, c.url)
		require.NotContains(t, a.text, "hunter2")
		require.Equal(t, c.notSent, a.notSent, c.url)
	}
}
