package sender

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func testMessage() message.Message {
	return message.Message{ID: message.NewID(time.Now()), To: "+905551111111", Content: "<ol\u00e1> & \"co\"", Destination: "default"}
}

// hook returns the webhook that delivers to a server with the given handler.
func hook(t *testing.T, serve http.HandlerFunc, settings ...func(*Config)) *webhook {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	return hookTo(t, server.URL, settings...)
}

func hookTo(t *testing.T, url string, settings ...func(*Config)) *webhook {
	t.Helper()
	cfg := Config{WebhookURL: url, WebhookTimeout: 5 * time.Second, Concurrency: 8}
	for _, set := range settings {
		set(&cfg)
	}
	w, err := newWebhook(cfg, zap.NewNop())
	require.NoError(t, err)
	t.Cleanup(w.close)
	return w
}

// road brings a webhook that net/http and a direct road can reach onto one of
// the two.
type road func(*webhook) *webhook

// overEachRoad runs a test of what both roads promise.
func overEachRoad(t *testing.T, test func(t *testing.T, over road)) {
	t.Helper()
	for name, over := range map[string]road{
		"direct":   func(w *webhook) *webhook { return w },
		"net/http": func(w *webhook) *webhook { w.transport = directOf(w).large; return w },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, over)
		})
	}
}

func directOf(w *webhook) *direct { return w.transport.(*direct) }

func timeout(d time.Duration) func(*Config) { return func(c *Config) { c.WebhookTimeout = d } }

func TestARequestIsThatOfTheContract(t *testing.T) {
	t.Parallel()
	overEachRoad(t, func(t *testing.T, over road) {
		var got *http.Request
		var body []byte
		w := over(hook(t, func(_ http.ResponseWriter, r *http.Request) {
			got = r
			body, _ = io.ReadAll(r.Body)
		}, func(c *Config) {
			c.WebhookURL = strings.Replace(c.WebhookURL, "://", "://user:pass@", 1) + "/hook?key=1"
			c.WebhookSecret = "whsec_b25l whsec_dHdv"
			c.WebhookHeaders = "X-Tenant: 7"
		}))
		m := testMessage()
		m.Trace = message.Trace{Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", State: "a=1"}
		a := w.attempt(t.Context(), m, 3)
		require.Equal(t, succeeded, a.verdict)

		require.Equal(t, http.MethodPost, got.Method)
		require.Equal(t, "/hook?key=1", got.RequestURI)
		require.JSONEq(t, `{"to":"+905551111111","content":"<olá> & \"co\""}`, string(body))
		require.Equal(t, "application/json", got.Header.Get("Content-Type"))
		require.Equal(t, m.ID.String(), got.Header.Get("Idempotency-Key"))
		require.Equal(t, m.ID.String(), got.Header.Get("webhook-id"))
		require.Regexp(t, `^\d{10}$`, got.Header.Get("webhook-timestamp"))
		require.Len(t, strings.Fields(got.Header.Get("webhook-signature")), 2)
		require.Regexp(t, `^message-dispatcher/\S+$`, got.Header.Get("User-Agent"))
		require.Equal(t, "3", got.Header.Get("X-Dispatch-Attempt"))
		require.Equal(t, m.Trace.Parent, got.Header.Get("traceparent"))
		require.Equal(t, m.Trace.State, got.Header.Get("tracestate"))
		require.Equal(t, "7", got.Header.Get("X-Tenant"))
		user, password, ok := got.BasicAuth()
		require.True(t, ok)
		require.Equal(t, "user:pass", user+":"+password)
		require.EqualValues(t, len(body), got.ContentLength)

		m.Payload = []byte("{ \"as\":\t\"it is\" }")
		m.Trace = message.Trace{}
		w.attempt(t.Context(), m, 1)
		require.Equal(t, string(m.Payload), string(body))
		require.Empty(t, got.Header.Get("traceparent"))
	})
}

func TestTheBodySaysWhatTheMessageDoes(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "plain", "\"\\/<&>\u2028", "\x00\b\f\n\r\t\x1f\x7f", "ol\u00e1 \U0001F600", "bad \xff"} {
		var got map[string]string
		require.NoError(t, json.Unmarshal(requestBody(message.Message{To: "+1", Content: content}), &got))
		require.Equal(t, map[string]string{"to": "+1", "content": strings.ToValidUTF8(content, "\uFFFD")}, got)
	}
}

// net/http repeats a POST by itself when it has an Idempotency-Key and
// a kept connection closes before the answer.
func TestAConnectionThatClosesWithoutAnAnswerCostsOnePost(t *testing.T) {
	t.Parallel()
	overEachRoad(t, func(t *testing.T, over road) {
		var posts atomic.Int32
		w := over(hook(t, func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if posts.Add(1) == 1 {
				return // keeps the connection
			}
			conn, _, err := http.NewResponseController(rw).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		}))
		require.Equal(t, succeeded, w.attempt(t.Context(), testMessage(), 1).verdict)
		a := w.attempt(t.Context(), testMessage(), 1)
		require.Equal(t, retryable, a.verdict)
		require.Equal(t, "connection closed without an answer", a.text)
		require.Zero(t, a.status)
		require.EqualValues(t, 2, posts.Load())
	})
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	overEachRoad(t, func(t *testing.T, over road) {
		var posts atomic.Int32
		w := over(hook(t, func(rw http.ResponseWriter, r *http.Request) {
			posts.Add(1)
			http.Redirect(rw, r, "/elsewhere", http.StatusTemporaryRedirect)
		}))
		a := w.attempt(t.Context(), testMessage(), 1)
		require.Equal(t, refused, a.verdict)
		require.Equal(t, "status 307: redirects are not followed; its Location is /elsewhere", a.text)
		require.EqualValues(t, 1, posts.Load())
	})
}

func TestTheTimeoutCoversTheHeader(t *testing.T) {
	t.Parallel()
	overEachRoad(t, func(t *testing.T, over road) {
		release := make(chan struct{})
		w := over(hook(t, func(http.ResponseWriter, *http.Request) { <-release }, timeout(50*time.Millisecond)))
		t.Cleanup(func() { close(release) })
		a := w.attempt(t.Context(), testMessage(), 1)
		require.Equal(t, retryable, a.verdict)
		require.Equal(t, "timeout after 50ms", a.text)
		require.GreaterOrEqual(t, a.took, 50*time.Millisecond)
	})
}

func TestABodyThatHangsIsRead2s(t *testing.T) {
	t.Parallel()
	overEachRoad(t, func(t *testing.T, over road) {
		release := make(chan struct{})
		w := over(hook(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(rw, `{"messageId":"early",`)
			_ = http.NewResponseController(rw).Flush()
			<-release
		}, timeout(500*time.Millisecond)))
		t.Cleanup(func() { close(release) })
		a := w.attempt(t.Context(), testMessage(), 1)
		require.Equal(t, succeeded, a.verdict)
		require.Equal(t, "early", a.externalID)
		require.GreaterOrEqual(t, a.took, responseWait)
		require.Less(t, a.took, responseWait+2*time.Second)
	})
}

func TestHugeAndEndlessBodiesCostLittle(t *testing.T) {
	t.Parallel()
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for name, chunks := range map[string]int{"10 MB": 160, "endless": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := hook(t, func(rw http.ResponseWriter, _ *http.Request) {
				for range chunks {
					if _, err := rw.Write(chunk); err != nil {
						return
					}
				}
			})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a := w.attempt(t.Context(), testMessage(), 1)
			runtime.ReadMemStats(&after)
			require.Equal(t, succeeded, a.verdict)
			require.Len(t, a.response, message.ResponseKept)
			require.Less(t, a.took, responseWait)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20))
		})
	}
}

func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	overEachRoad(t, func(t *testing.T, over road) {
		var opened atomic.Int32
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = rw.Write([]byte(`{"messageId":1}`))
		}))
		server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened.Add(1)
			}
		}
		server.Start()
		t.Cleanup(server.Close)
		w := over(hookTo(t, server.URL))
		for range 20 {
			require.Equal(t, succeeded, w.attempt(t.Context(), testMessage(), 1).verdict)
		}
		require.EqualValues(t, 1, opened.Load())
	})
}

func TestWhatGoesWrongIsSaidWithoutSecrets(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := listener.Addr().String()
	require.NoError(t, listener.Close())

	tls := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tls.Close)
	for url, want := range map[string]string{
		"http://user:hunter2@" + nobody + "/?token=hunter2":         "connection refused",
		"http://user:hunter2@no.such.host.invalid/?token=hunter2":   "DNS lookup failed",
		strings.Replace(tls.URL, "://", "://user:hunter2@", 1):      "TLS: ",
		"http://user:hunter2@" + garbage(t, "HTTP/1.1 abc\r\n\r\n"): "malformed HTTP",
		"http://user:hunter2@" + garbage(t, ""):                     "connection closed without an answer",
	} {
		a := hookTo(t, url).attempt(t.Context(), testMessage(), 1)
		require.Equal(t, retryable, a.verdict, url)
		require.Contains(t, a.text, want, url)
		require.NotContains(t, a.text, "hunter2")
	}
}

// garbage listens and answers every request with the text, then closes.
func garbage(t *testing.T, text string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			_, _ = fmt.Fprint(conn, text)
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

func TestAnAttemptEndsWithItsContext(t *testing.T) {
	t.Parallel()
	overEachRoad(t, func(t *testing.T, over road) {
		arrived, release := make(chan struct{}), make(chan struct{})
		w := over(hook(t, func(http.ResponseWriter, *http.Request) { close(arrived); <-release }))
		t.Cleanup(func() { close(release) })
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		a := w.attempt(ctx, testMessage(), 1)
		require.Zero(t, a.status)
		require.Equal(t, retryable, a.verdict)
	})
}

func TestHTTP2IsUsedWhereItIsOffered(t *testing.T) {
	t.Parallel()
	var proto string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { proto = r.Proto }))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	w := hookTo(t, server.URL)
	w.transport = newTransport(w.url, Config{WebhookTimeout: w.timeout}, http.ProxyURL(nil), server.Client().Transport.(*http.Transport).TLSClientConfig)
	a := w.attempt(t.Context(), testMessage(), 1)
	require.Equal(t, succeeded, a.verdict, a.text)
	require.Equal(t, "HTTP/2.0", proto)
}
