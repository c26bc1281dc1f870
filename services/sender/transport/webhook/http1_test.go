package webhook

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

func TestOnlyHostsWithoutAProxyAreReachedByHTTP1(t *testing.T) {
	t.Parallel()
	proxy := &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	for at, want := range map[string]string{
		"http://receiver/hook": "receiver:80", "http://receiver:8080": "receiver:8080", "HTTP://[::1]": "[::1]:80",
		"http://[fe80::1%25eth0]:81/": "[fe80::1%eth0]:81",
		"https://receiver/hook":       "receiver:443", "https://receiver:8443": "receiver:8443",
		"http://bücher.example": "", "https://bücher.example": "",
	} {
		c := newTarget(t, at)
		client := c.http1()
		require.Equal(t, want != "", client != nil, at)
		if client != nil {
			require.Equal(t, want, client.address)
		}
		for _, proxies := range []func(*http.Request) (*url.URL, error){
			http.ProxyURL(proxy),
			func(*http.Request) (*url.URL, error) { return nil, os.ErrInvalid },
		} {
			require.Nil(t, newTarget(t, at, func(o *connOptions) { o.proxy = proxies }).http1(), at)
		}
	}
}

func TestEachHostHasItsOwnConnections(t *testing.T) {
	t.Parallel()
	first, second := listen(t, nil, saying(t, ok)), listen(t, nil, saying(t, ok))
	c := newTarget(t, first.url)
	for n := range int32(6) {
		require.True(t, c.send(t.Context()).delivered())
		if n%2 == 0 {
			c.to.Host = hostOf(t, second.url)
		} else {
			c.to.Host = hostOf(t, first.url)
		}
	}
	for _, r := range []*receiver{first, second} {
		require.EqualValues(t, 3, r.posts.Load())
		require.EqualValues(t, 1, r.connections.Load())
	}
}

func hostOf(t *testing.T, at string) string {
	t.Helper()
	u, err := url.Parse(at)
	require.NoError(t, err)
	return u.Host
}

func TestBothPathsWriteTheSameBytes(t *testing.T) {
	t.Parallel()
	written := map[string]string{}
	for _, name := range []string{"http1", "net/http"} {
		var raw bytes.Buffer
		r := newReceiver(t, func(conn *net.TCPConn, _ func() *http.Request) {
			in := bufio.NewReader(io.TeeReader(conn, &raw))
			if r, err := http.ReadRequest(in); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			_, _ = io.WriteString(conn, ok)
		})
		c := newTarget(t, r.url)
		c.header = http.Header{"X-Tenant": {"7"}, "Authorization": {"Bearer x"}, "Idempotency-Key": {"b"}, "User-Agent": {"x"}, "Accept-Encoding": {"identity"}}
		if name == "net/http" {
			c.useStandard()
		}
		require.True(t, c.send(t.Context()).delivered())
		written[name] = strings.ReplaceAll(raw.String(), c.to.Host, "")
	}
	require.Equal(t, written["net/http"], written["http1"])
	require.Contains(t, written["http1"], "\r\nidempotency-key: b\r\n")
}

func TestNoHeaderIsSmuggledIn(t *testing.T) {
	t.Parallel()
	var header http.Header
	c := handledBy(t, func(_ http.ResponseWriter, r *http.Request) { header = r.Header })
	c.header = http.Header{"Traceparent": {"x\r\nX-Evil: 1\r\n\r\nPOST / HTTP/1.1"}, "Tracestate": {"a\nX-Evil: 1"}}
	require.True(t, c.send(t.Context()).delivered())
	require.NotContains(t, header, "X-Evil")
}

// What comes of a response, and whether its connection carries the next one.
func TestResponsesAreThoseOfHTTP11(t *testing.T) {
	t.Parallel()
	const kept, spent = 1, 2 // connections that two attempts take
	for name, c := range map[string]struct {
		raw         string
		status      int    // 0 for an error
		says        string // in the error or the body
		connections int32
	}{
		"length":               {ok, 200, "1", kept},
		"chunks":               {"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"messag\r\n9;x=y\r\neId\":\"a\"}\r\n0\r\nX-Sum: 1\r\n\r\n", 202, "a", kept},
		"no content":           {"HTTP/1.1 204 No Content\r\n\r\n", 204, "", kept},
		"not modified":         {"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, "", spent},
		"empty":                {"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", 500, "", kept},
		"close":                {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", spent},
		"HTTP/1.0":             {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", spent},
		"HTTP/1.0 that stays":  {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", kept},
		"continue":             {"HTTP/1.1 100 Continue\r\n\r\n" + ok, 200, "1", kept},
		"early hints":          {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 20) + ok, 200, "1", kept},
		"endless hints":        {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 4000) + ok, 0, "header", spent},
		"another protocol":     {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 101, "", spent},
		"a status of its own":  {"HTTP/1.1 099 Huh\r\nContent-Length: 0\r\n\r\n", 99, "", spent},
		"more than said":       {ok + "HTTP/1.1 200 OK\r\n\r\n", 200, "1", spent},
		"body beside 204":      {"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi", 204, "", spent},
		"long body":            {"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + strings.Repeat("x", 70_000), 200, "xxx", spent},
		"long header":          {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", transport.MaxBody) + "\r\n\r\n", 0, "header", spent},
		"header of many lines": {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: x\r\n", transport.MaxBody/5) + "\r\n", 0, "header", spent},
		"no HTTP":              {"SSH-2.0-x\r\n\r\n", 0, "malformed HTTP", spent},
		"HTTP/2":               {"\x00\x00\x12\x04\x00\x00\x00\x00\x00\n\n", 0, "malformed HTTP", spent},
		"bad line":             {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", 0, "malformed MIME header", spent},
		"two lengths":          {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", 0, "Content-Length", spent},
		"unknown coding":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\nhi", 0, "transfer encoding", spent},
		"bad chunk":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhi\r\n", 200, "", spent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
				to := receiving(saying(t, c.raw))
				for range 2 {
					a := to.send(t.Context())
					require.Equal(t, c.status, a.status, a.text)
					require.Contains(t, a.text+" "+a.body, c.says)
				}
				require.Equal(t, c.connections, to.connections.Load())
				require.EqualValues(t, 2, to.posts.Load())
			})
		})
	}
}

// The same, if the receiver closes the connection after what it says.
func TestResponsesThatEndWithTheirConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		raw    string
		status int
		says   string
	}{
		"body until the end": {"HTTP/1.1 200 OK\r\n\r\n{\"messageId\":\"a\"}", 200, "a"},
		"body cut off":       {"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"messageId\":\"a\",", 200, "a"},
		"chunk cut off":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 200, "ab"},
		"header cut off":     {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", 0, "connection closed without a response"},
		"line cut off":       {"HTTP/1.1 200 OK\r\nContent-Le", 0, "malformed"},
		"only hints":         {"HTTP/1.1 103 Early Hints\r\n\r\n", 0, "connection closed without a response"},
		"nothing":            {"", 0, "connection closed without a response"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
				a := receiving(sayingOnce(t, c.raw)).send(t.Context())
				require.Equal(t, c.status, a.status, a.text)
				require.Contains(t, a.text+" "+a.body, c.says)
			})
		})
	}
}

func TestAResponseIsReadBeforeTheReceiverReadsTheRequest(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": maxHTTP1Body, "large": maxHTTP1Body + 1, "of 8 MiB": 8 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
				c := receiving(func(conn net.Conn, next func() *http.Request) {
					next()
					_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
					<-t.Context().Done()
				})
				c.timeout = time.Minute
				a := c.sendBody(t.Context(), bytes.Repeat([]byte("1"), size))
				require.Equal(t, 413, a.status, a.text)
			})
		})
	}
}

// A receiver that is overloaded may respond and close without reading.
func TestAResponseIsReadAfterTheRequestBrokeOff(t *testing.T) {
	t.Parallel()
	dialed, left := make(chan struct{}), make(chan struct{})
	r := newReceiver(t, func(conn *net.TCPConn, _ func() *http.Request) {
		<-dialed
		_, _ = io.WriteString(conn, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
		_ = conn.SetLinger(0) // a reset
		_ = conn.Close()
		close(left)
	})
	to := newTarget(t, r.url)
	checked, err := to.http1().dialer.dialPlain(t.Context(), "tcp", to.http1().address)
	require.NoError(t, err)
	c := newHTTP1Conn(checked)
	defer c.close()
	require.NoError(t, c.prepare(time.Now().Add(time.Minute)))
	close(dialed)
	<-left
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url, strings.NewReader("{}"))
	require.NoError(t, err)
	response, err := c.exchange(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.False(t, c.reusable)
}

func FuzzResponse(f *testing.F) {
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
	http1, standard := newTarget(f, server.URL), newTarget(f, server.URL).useStandard()
	f.Fuzz(func(t *testing.T, raw string) {
		text.Store(&raw)
		http1.client.Close() // the receiver may not have closed its connections yet
		standard.client.Close()
		a, b := http1.send(t.Context()), standard.send(t.Context())
		require.Equal(t, b.status, a.status, "%q: %s / %s", raw, a.text, b.text)
		require.Equal(t, b.body, a.body)
	})
}
