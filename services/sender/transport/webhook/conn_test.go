package webhook

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// Every message that the receiver has got is asked for once, whatever follows
// its responses and whenever that comes.
func TestAReceiverThatSendsTooMuchGetsEachMessageOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ response, rest string }{
		"a 204 with a length":     {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "hello"},
		"a 204 in chunks":         {"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n"},
		"a 204 that says nothing": {"HTTP/1.1 204 No Content\r\n\r\n", "hello"},
		"more than the length":    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "hello"},
		"more than the chunks":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serve := func(conn net.Conn, next func() *http.Request) {
				for r := next(); r != nil; r = next() {
					_, _ = io.Copy(io.Discard, r.Body)
					_, _ = io.WriteString(conn, c.response)
					_, _ = io.WriteString(conn, c.rest)
				}
			}
			overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
				c := receiving(serve)
				const workers, each = 8, 12
				var flight sync.WaitGroup
				var failed atomic.Value
				for range workers {
					flight.Go(func() {
						for range each {
							if a := c.send(t.Context()); !a.delivered() {
								failed.Store(a.text)
							}
						}
					})
				}
				flight.Wait()
				require.Nil(t, failed.Load())
				require.EqualValues(t, workers*each, c.posts.Load())
			})
		})
	}
}

// A response that announces content which it can't have costs its connection,
// before anything else could be sent over it.
func TestAResponseThatBreaksTheRulesEndsItsConnection(t *testing.T) {
	t.Parallel()
	for name, response := range map[string]string{
		"204 with a length":  "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
		"204 in chunks":      "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
		"304 with a length":  "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"101 with a length":  "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 5\r\n\r\n",
		"200 that is closed": "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
				ended := make(chan struct{}, 8)
				c := receiving(func(conn net.Conn, next func() *http.Request) {
					if r := next(); r != nil {
						_, _ = io.Copy(io.Discard, r.Body)
					}
					_, _ = io.WriteString(conn, response)
					for r := next(); r != nil; r = next() {
						_, _ = io.Copy(io.Discard, r.Body)
					}
					ended <- struct{}{}
				})
				for n := range int32(3) {
					require.NotZero(t, c.send(t.Context()).status)
					<-ended
					require.Equal(t, n+1, c.connections.Load())
				}
				require.EqualValues(t, 3, c.posts.Load())
			})
		})
	}
}

// A response and what follows it arrive together. What TLS has read ahead is found
// too, also if it looks like a response.
func TestBytesThatArriveWithAResponseAreNotTheNextResponse(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 2, "larger than a buffer": 5000, "beyond what a buffer of TLS holds back": 30_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
				c := receiving(saying(t, "HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(size)+"\r\n\r\n"+strings.Repeat("x", size)+
					"HTTP/1.1 500 Stolen\r\nContent-Length: 0\r\n\r\n"))
				for n := range int32(5) {
					require.Equal(t, 200, c.send(t.Context()).status)
					require.Equal(t, n+1, c.posts.Load())
					require.Equal(t, n+1, c.connections.Load())
				}
			})
		})
	}
}

// TLS through a proxy is net/http's own, and what arrives can't be checked.
func TestAReceiverBehindAProxyThatBreaksTheRulesGetsAConnectionPerRequest(t *testing.T) {
	t.Parallel()
	server, _ := certificate()
	r := listen(t, server, func(conn net.Conn, next func() *http.Request) {
		for r := next(); r != nil; r = next() {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")
		}
	})
	to, err := url.Parse(r.url)
	require.NoError(t, err)
	proxy := newReceiver(t, func(conn *net.TCPConn, next func() *http.Request) {
		next() // CONNECT
		far, err := net.Dial("tcp", to.Host)
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(conn, far); _ = conn.Close() }()
		_, _ = io.Copy(far, conn)
		_ = far.Close()
	})
	through, err := url.Parse(proxy.url)
	require.NoError(t, err)
	c := newTarget(t, r.url, trusting, func(o *connOptions) { o.proxy = http.ProxyURL(through) })
	for n := range int32(4) {
		require.Equal(t, 204, c.send(t.Context()).status)
		require.Equal(t, n+1, r.connections.Load())
		require.Equal(t, n+1, r.posts.Load())
	}
}

// What comes behind a request and before its response is of the response
// before.
func TestLateBytesAreNotTheNextResponse(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]string{
		"content": "hello", "a chunk": "0\r\n\r\n", "lines": "HTTP/2 200\r\nHTTP/1.1 2\r\nHTTP/1.1\r\n\r\n", "a lot": string(make([]byte, transport.MaxBody/2)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serve := func(conn net.Conn, next func() *http.Request) {
				for n := 0; ; n++ {
					r := next()
					if r == nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					if n > 0 { // now it belongs to nothing any more
						for i := range len(late) {
							if len(late) > 100 {
								_, _ = io.WriteString(conn, late)
								break
							}
							_, _ = io.WriteString(conn, late[i:i+1])
						}
					}
					text := `{"messageId":` + strconv.Itoa(n) + `}`
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(len(text))+"\r\n\r\n"+text)
				}
			}
			overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
				c := receiving(serve)
				for n := range int32(6) {
					a := c.send(t.Context())
					require.True(t, a.delivered(), a.text)
					require.JSONEq(t, `{"messageId":`+strconv.Itoa(int(n%2))+`}`, a.body)
					require.Equal(t, n/2+1, c.connections.Load(), "one that broke the rules carries no more")
					require.Equal(t, n+1, c.posts.Load())
				}
			})
		})
	}
}

// What comes before a request is written makes its connection useless. The
// request goes over another one, and costs no attempt.
func TestBytesBeforeTheRequestAreNotItsResponse(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]string{"content": "hello", "a response": ok, "the end": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
				more, sent := make(chan struct{}), make(chan struct{})
				c := receiving(func(conn net.Conn, next func() *http.Request) {
					if r := next(); r != nil {
						_, _ = io.Copy(io.Discard, r.Body)
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
					<-more
					if _, _ = io.WriteString(conn, early); early == "" {
						_ = conn.Close()
					}
					sent <- struct{}{}
					next()
				})
				for n := range int32(4) {
					a := c.send(t.Context())
					require.True(t, a.delivered(), a.text)
					require.Equal(t, 204, a.status)
					require.Equal(t, n+1, c.posts.Load())
					more <- struct{}{}
					<-sent
				}
			})
		})
	}
}

// Without a status line there is no response, and nobody waits for one without
// an end.
func TestEndlessRubbishIsNoResponse(t *testing.T) {
	t.Parallel()
	serve := func(conn net.Conn, next func() *http.Request) {
		for n := 0; ; n++ {
			r := next()
			if r == nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			if n == 0 {
				_, _ = io.WriteString(conn, ok)
				continue
			}
			for {
				if _, err := io.WriteString(conn, "rubbish"); err != nil {
					return
				}
			}
		}
	}
	overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
		c := receiving(serve)
		require.True(t, c.send(t.Context()).delivered())
		a := c.send(t.Context())
		require.Zero(t, a.status)
		require.Contains(t, a.text, errNoResponse.Error())
		require.EqualValues(t, 2, c.posts.Load())
	})
}
