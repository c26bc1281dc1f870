package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tcpOf returns the TCP connection under one that a receiver has accepted.
func tcpOf(conn net.Conn) *net.TCPConn {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	return conn.(*net.TCPConn)
}

func TestTheEndOfAnIdleConnectionIsNoFailedAttempt(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(net.Conn){
		"closed":     func(conn net.Conn) { _ = conn.Close() },
		"reset":      func(conn net.Conn) { _ = tcpOf(conn).SetLinger(0); _ = tcpOf(conn).Close() },
		"announced":  func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 408 Timeout\r\n\r\n"); _ = conn.Close() },
		"misleading": func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 404 Not Found\r\n\r\n") },
		"half shut":  func(conn net.Conn) { _ = tcpOf(conn).CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
				responded := make(chan struct{})
				c := receiving(func(conn net.Conn, next func() *http.Request) {
					if r := next(); r != nil {
						_, _ = io.Copy(io.Discard, r.Body)
					}
					_, _ = io.WriteString(conn, ok)
					<-responded
					leave(conn)
					responded <- struct{}{}
					next()
				})
				for n := range int32(5) {
					require.True(t, c.send(t.Context()).delivered())
					responded <- struct{}{}
					<-responded
					if client := c.http1(); client != nil {
						awaitReadable(t, client)
					}
					require.Equal(t, n+1, c.connections.Load())
					require.Equal(t, n+1, c.posts.Load())
				}
			})
		})
	}
}

// awaitReadable returns once something has arrived on the idle connection.
func awaitReadable(t *testing.T, c *http1Client) {
	t.Helper()
	require.Len(t, c.idle.conns, 1)
	conn := c.idle.conns[0]
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	require.NoError(t, conn.tcp.raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		return err != syscall.EAGAIN
	}))
}

// Whenever it breaks, the receiver has the request once.
func TestAPostLeavesOnce(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(net.Conn){
		"closed":        func(net.Conn) {},
		"reset":         func(conn net.Conn) { _ = tcpOf(conn).SetLinger(0); _ = tcpOf(conn).Close() },
		"in the header": func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n") },
	} {
		for kind, before := range map[string]int32{"new connection": 0, "reused connection": 3} {
			t.Run(name+" on a "+kind, func(t *testing.T) {
				t.Parallel()
				overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
					c := receiving(func(conn net.Conn, next func() *http.Request) {
						for range before {
							if r := next(); r != nil {
								_, _ = io.Copy(io.Discard, r.Body)
							}
							_, _ = io.WriteString(conn, ok)
						}
						if r := next(); r != nil {
							_, _ = io.Copy(io.Discard, r.Body)
						}
						fail(conn)
					})
					for range before {
						require.True(t, c.send(t.Context()).delivered())
					}
					a := c.send(t.Context())
					require.Zero(t, a.status)
					require.Equal(t, "connection closed without a response", a.text)
					require.False(t, a.notSent)
					require.Equal(t, before+1, c.posts.Load())
					require.EqualValues(t, 1, c.connections.Load())
				})
			})
		}
	}
}

// closing signals each connection that the sender has closed.
func closing(hold func()) (serve serving, closed chan struct{}) {
	closed = make(chan struct{}, 16)
	return func(conn net.Conn, next func() *http.Request) {
		for r := next(); r != nil; r = next() {
			_, _ = io.Copy(io.Discard, r.Body)
			hold()
			_, _ = io.WriteString(conn, ok)
		}
		closed <- struct{}{}
	}, closed
}

// together makes attempts that are all in flight at once.
func together(t *testing.T, c *target, count int) {
	t.Helper()
	results := make(chan sent, count)
	var flight sync.WaitGroup
	for range count {
		flight.Go(func() { results <- c.send(t.Context()) })
	}
	flight.Wait()
	for range count {
		require.True(t, (<-results).delivered())
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	const count = 3
	meet := func() func() {
		var all sync.WaitGroup
		all.Add(count)
		return func() { all.Done(); all.Wait() }
	}
	t.Run("after a while", func(t *testing.T) {
		t.Parallel()
		serve, closed := closing(meet())
		c := newTarget(t, listen(t, nil, serve).url, func(o *connOptions) { o.idleTimeout = 10 * time.Millisecond })
		together(t, c, count)
		for range count {
			<-closed
		}
		pool := &c.http1().idle
		require.Eventually(t, func() bool {
			pool.mu.Lock()
			defer pool.mu.Unlock()
			return pool.sweeper == nil && len(pool.conns) == 0
		}, time.Minute, time.Millisecond)
	})
	t.Run("at the end", func(t *testing.T) {
		t.Parallel()
		var first atomic.Int32
		all := meet()
		serve, closed := closing(func() {
			if first.Add(1) <= count {
				all()
			}
		})
		c := newTarget(t, listen(t, nil, serve).url)
		together(t, c, count)
		require.Len(t, c.http1().idle.conns, count)
		require.True(t, c.sendBody(t.Context(), bytes.Repeat([]byte("1"), maxHTTP1Body+1)).delivered())
		c.client.Close()
		for range count + 1 {
			<-closed
		}
	})
	t.Run("beyond the limit", func(t *testing.T) {
		t.Parallel()
		serve, closed := closing(meet())
		c := newTarget(t, listen(t, nil, serve).url, func(o *connOptions) { o.maxIdleConns = 1 })
		together(t, c, count)
		for range count - 1 {
			<-closed
		}
		require.Len(t, c.http1().idle.conns, 1)
	})
}

// dialing runs a function instead of opening a connection.
func dialing(dial func(context.Context) error) setting {
	return func(o *connOptions) {
		o.dialer.ControlContext = func(ctx context.Context, _, _ string, _ syscall.RawConn) error { return dial(ctx) }
	}
}

func TestTheTimeoutCoversTheDial(t *testing.T) {
	t.Parallel()
	c := newTarget(t, "http://127.0.0.1:1", dialing(func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}))
	c.timeout = 50 * time.Millisecond
	a := c.send(t.Context())
	require.Equal(t, "timeout after 50ms", a.text)
	require.True(t, a.notSent)
}

func TestTheTimeoutCoversASlowHeader(t *testing.T) {
	t.Parallel()
	overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
		c := receiving(func(conn net.Conn, next func() *http.Request) {
			next()
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX: y\r\n")
			next() // without a request: until the end
		})
		c.timeout = 50 * time.Millisecond
		require.Equal(t, "timeout after 50ms", c.send(t.Context()).text)
	})
}

// The end of the context cuts an attempt off wherever it is.
func TestAnAttemptEndsWithItsContext(t *testing.T) {
	t.Parallel()
	t.Run("dialing", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		c := newTarget(t, "http://127.0.0.1:1", dialing(func(ctx context.Context) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}))
		c.timeout = time.Hour
		require.Equal(t, "context canceled", c.send(ctx).text)
	})
	for name, said := range map[string]string{"before the header": "", "in the header": "HTTP/1.1 200 O", "in the body": ok[:len(ok)-1]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
				ctx, cancel := context.WithCancelCause(t.Context())
				closed := make(chan struct{})
				c := receiving(func(conn net.Conn, next func() *http.Request) {
					_, _ = io.Copy(io.Discard, next().Body)
					_, _ = io.WriteString(conn, said)
					cancel(errors.New("enough"))
					next()
					close(closed)
				})
				c.timeout = time.Hour
				a := c.send(ctx)
				<-closed
				if client := c.http1(); client != nil {
					require.Empty(t, client.idle.conns)
				}
				if a.status == 0 { // a header that arrives with the end may still count
					require.Equal(t, "enough", a.text)
				}
				if name != "in the body" {
					require.Zero(t, a.status)
				}
				require.EqualValues(t, 1, c.posts.Load())
			})
		})
	}
}

func TestAConnectionThatThisMachineLacksIsLocal(t *testing.T) {
	t.Parallel()
	c := newTarget(t, "http://127.0.0.1:1", dialing(func(context.Context) error {
		return os.NewSyscallError("socket", syscall.EMFILE)
	}))
	a := c.send(t.Context())
	require.True(t, a.local)
	require.True(t, a.notSent)
}
