package sender

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// farEnd is a receiver without an HTTP server: what it says on a connection is
// the test's.
type farEnd struct {
	url         string
	connections atomic.Int32
	posts       atomic.Int32
}

// newFarEnd serves each connection until serve returns, and then closes it.
func newFarEnd(t *testing.T, serve func(conn *net.TCPConn, next func() *http.Request)) *farEnd {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return listening(t, "http", listener, func(conn net.Conn, next func() *http.Request) { serve(conn.(*net.TCPConn), next) })
}

func listening(t *testing.T, scheme string, listener net.Listener, serve func(conn net.Conn, next func() *http.Request)) *farEnd {
	t.Helper()
	t.Cleanup(func() { _ = listener.Close() })
	f := &farEnd{url: scheme + "://" + listener.Addr().String() + "/hook?key=1"}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.connections.Add(1)
			go func() {
				defer func() { _ = conn.Close() }()
				in := bufio.NewReader(conn)
				serve(conn, func() *http.Request {
					r, err := http.ReadRequest(in)
					if err != nil {
						return nil
					}
					f.posts.Add(1)
					return r
				})
			}()
		}
	}()
	return f
}

// answering says the same to every request.
func answering(t *testing.T, text string) *farEnd {
	t.Helper()
	return newFarEnd(t, func(conn *net.TCPConn, next func() *http.Request) {
		for r := next(); r != nil; r = next() {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(conn, text)
		}
	})
}

// awaitReadable returns once an idle connection has something to tell.
func awaitReadable(t *testing.T, w *webhook) {
	t.Helper()
	idle := directOf(w).idle
	require.Len(t, idle, 1)
	require.NoError(t, idle[0].conn.SetDeadline(time.Now().Add(time.Minute)))
	require.NoError(t, idle[0].conn.tcp.raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		return err != syscall.EAGAIN
	}))
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"messageId\":1}"

func TestOnlyPlainWebhooksWithoutAProxyAreReachedDirectly(t *testing.T) {
	t.Parallel()
	proxy := &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	for target, want := range map[string]string{
		"http://receiver/hook": "receiver:80", "http://receiver:8080": "receiver:8080", "HTTP://[::1]": "[::1]:80",
		"http://[fe80::1%25eth0]:81/": "[fe80::1%eth0]:81",
		"https://receiver/hook":       "", "http://bücher.example": "",
	} {
		u, err := url.Parse(target)
		require.NoError(t, err)
		d, is := newTransport(u, Config{}, http.ProxyURL(nil), nil).(*direct)
		require.Equal(t, want != "", is, target)
		if is {
			require.Equal(t, want, d.address)
		}
		for _, proxies := range []func(*http.Request) (*url.URL, error){
			http.ProxyURL(proxy),
			func(*http.Request) (*url.URL, error) { return nil, os.ErrInvalid },
		} {
			require.IsType(t, timed{}, newTransport(u, Config{}, proxies, nil), target)
		}
	}
}

func TestBothRoadsWriteTheSameBytes(t *testing.T) {
	t.Parallel()
	written := map[string]string{}
	m := testMessage()
	m.Trace = message.Trace{Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", State: "a=1"}
	for _, name := range []string{"direct", "net/http"} {
		var raw bytes.Buffer
		f := newFarEnd(t, func(conn *net.TCPConn, _ func() *http.Request) {
			in := bufio.NewReader(io.TeeReader(conn, &raw))
			if r, err := http.ReadRequest(in); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			_, _ = io.WriteString(conn, ok)
		})
		w := hookTo(t, f.url, func(c *Config) { c.WebhookHeaders = "X-Tenant: 7\nauthorization: Bearer x" })
		if name == "net/http" {
			w.transport = directOf(w).large
		}
		require.Equal(t, succeeded, w.attempt(t.Context(), m, 3).verdict)
		text := regexp.MustCompile(`127\.0\.0\.1:\d+|(Timestamp): \d+`).ReplaceAllString(raw.String(), "$1")
		written[name] = text
	}
	require.Equal(t, written["net/http"], written["direct"])
	require.Contains(t, written["direct"], "\r\nidempotency-key: "+m.ID.String()+"\r\n")
}

func TestNoHeaderIsSmuggledIn(t *testing.T) {
	t.Parallel()
	var header http.Header
	w := hook(t, func(_ http.ResponseWriter, r *http.Request) { header = r.Header })
	m := testMessage()
	m.Trace = message.Trace{Parent: "x\r\nX-Evil: 1\r\n\r\nPOST / HTTP/1.1", State: "a\nX-Evil: 1"}
	require.Equal(t, succeeded, w.attempt(t.Context(), m, 1).verdict)
	require.NotContains(t, header, "X-Evil")
}

// What becomes of an answer, and whether its connection carries the next one.
func TestAnswersAreThoseOfHTTP11(t *testing.T) {
	t.Parallel()
	const kept, spent = 1, 2 // connections that two attempts take
	for name, c := range map[string]struct {
		raw         string
		verdict     verdict
		says        string // in the text, the external id or the response
		connections int32
	}{
		"length":               {ok, succeeded, "1", kept},
		"chunks":               {"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"messag\r\n9;x=y\r\neId\":\"a\"}\r\n0\r\nX-Sum: 1\r\n\r\n", succeeded, "a", kept},
		"no content":           {"HTTP/1.1 204 No Content\r\n\r\n", succeeded, "", kept},
		"not modified":         {"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", refused, "status 304", spent},
		"empty":                {"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", retryable, "status 500", kept},
		"close":                {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", succeeded, "hi", spent},
		"HTTP/1.0":             {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", succeeded, "hi", spent},
		"HTTP/1.0 that stays":  {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", succeeded, "hi", kept},
		"continue":             {"HTTP/1.1 100 Continue\r\n\r\n" + ok, succeeded, "1", kept},
		"early hints":          {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 20) + ok, succeeded, "1", kept},
		"endless hints":        {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 4000) + ok, retryable, "header", spent},
		"another protocol":     {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", refused, "status 101", spent},
		"a status of its own":  {"HTTP/1.1 099 Huh\r\nContent-Length: 0\r\n\r\n", refused, "status 99", spent},
		"more than said":       {ok + "HTTP/1.1 200 OK\r\n\r\n", succeeded, "1", spent},
		"body beside 204":      {"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi", succeeded, "", spent},
		"long body":            {"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + strings.Repeat("x", 70_000), succeeded, "xxx", spent},
		"long header":          {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxResponse) + "\r\n\r\n", retryable, "header", spent},
		"header of many lines": {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: x\r\n", maxResponse/5) + "\r\n", retryable, "header", spent},
		"no HTTP":              {"SSH-2.0-x\r\n\r\n", retryable, "malformed HTTP", spent},
		"HTTP/2":               {"\x00\x00\x12\x04\x00\x00\x00\x00\x00\n\n", retryable, "malformed HTTP", spent},
		"bad line":             {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", retryable, "malformed MIME header", spent},
		"two lengths":          {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", retryable, "Content-Length", spent},
		"unknown coding":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\nhi", retryable, "transfer encoding", spent},
		"bad chunk":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhi\r\n", succeeded, "", spent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overEachRoad(t, func(t *testing.T, over road) {
				f := answering(t, c.raw)
				w := over(hookTo(t, f.url))
				for range 2 {
					a := w.attempt(t.Context(), testMessage(), 1)
					require.Equal(t, c.verdict, a.verdict, a.text)
					require.Contains(t, a.text+" "+a.externalID+" "+a.response, c.says)
				}
				require.Equal(t, c.connections, f.connections.Load())
				require.EqualValues(t, 2, f.posts.Load())
			})
		})
	}
}

// The same, where the far end closes behind what it says.
func TestAnswersThatEndWithTheirConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		raw     string
		verdict verdict
		says    string
	}{
		"body until the end": {"HTTP/1.1 200 OK\r\n\r\n{\"messageId\":\"a\"}", succeeded, "a"},
		"body cut off":       {"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"messageId\":\"a\",", succeeded, "a"},
		"chunk cut off":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", succeeded, "ab"},
		"header cut off":     {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", retryable, "connection closed without an answer"},
		"line cut off":       {"HTTP/1.1 200 OK\r\nContent-Le", retryable, "malformed"},
		"only hints":         {"HTTP/1.1 103 Early Hints\r\n\r\n", retryable, "connection closed without an answer"},
		"nothing":            {"", retryable, "connection closed without an answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overEachRoad(t, func(t *testing.T, over road) {
				a := over(hookTo(t, "http://"+garbage(t, c.raw))).attempt(t.Context(), testMessage(), 1)
				require.Equal(t, c.verdict, a.verdict, a.text)
				require.Contains(t, a.text+" "+a.externalID+" "+a.response, c.says)
			})
		})
	}
}

func TestAnAnswerIsHeardBeforeTheRequestIsRead(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"direct": maxDirect, "net/http": maxDirect + 1, "of 8 MiB": 8 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFarEnd(t, func(conn *net.TCPConn, next func() *http.Request) {
				next()
				_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
				<-t.Context().Done()
			})
			m := testMessage()
			m.Payload = bytes.Repeat([]byte("1"), size)
			a := hookTo(t, f.url, timeout(time.Minute)).attempt(t.Context(), m, 1)
			require.Equal(t, 413, a.status, a.text)
		})
	}
}

// A far end that is overloaded may answer and leave without reading.
func TestAnAnswerIsReadAfterTheRequestBrokeOff(t *testing.T) {
	t.Parallel()
	dialed, left := make(chan struct{}), make(chan struct{})
	f := newFarEnd(t, func(conn *net.TCPConn, _ func() *http.Request) {
		<-dialed
		_, _ = io.WriteString(conn, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
		_ = conn.SetLinger(0) // a reset
		_ = conn.Close()
		close(left)
	})
	w := hookTo(t, f.url)
	conn, err := net.Dial("tcp", directOf(w).address)
	require.NoError(t, err)
	c, err := newWire(conn, time.Now().Add(time.Minute))
	close(dialed)
	require.NoError(t, err)
	<-left
	defer c.close()
	request, err := w.request(context.Background(), testMessage(), 1, time.Now())
	require.NoError(t, err)
	response, err := c.exchange(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.False(t, c.again)
}

func FuzzDirectAnswer(f *testing.F) {
	f.Add(ok)
	f.Add("HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
	f.Add("HTTP/1.1 101 x\r\n\r\n\x00\xff")
	var text atomic.Pointer[string]
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err == nil {
			_, _ = io.WriteString(conn, *text.Load())
			_ = conn.Close()
		}
	}))
	f.Cleanup(server.Close)
	direct, err := newWebhook(Config{WebhookURL: server.URL, WebhookTimeout: time.Minute, Concurrency: 1}, zap.NewNop())
	require.NoError(f, err)
	other, err := newWebhook(Config{WebhookURL: server.URL, WebhookTimeout: time.Minute, Concurrency: 1}, zap.NewNop())
	require.NoError(f, err)
	other.transport = directOf(other).large
	f.Fuzz(func(t *testing.T, raw string) {
		text.Store(&raw)
		direct.close() // nothing tells whether the far end has come to closing what it answered on
		other.close()
		a, b := direct.attempt(t.Context(), testMessage(), 1), other.attempt(t.Context(), testMessage(), 1)
		require.Equal(t, b.verdict, a.verdict, "%q: %s / %s", raw, a.text, b.text)
		require.Equal(t, b.status, a.status)
		require.Equal(t, b.response, a.response)
	})
}
