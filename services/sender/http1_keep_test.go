package sender

import (
	"bytes"
	"context"
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

func TestACloseOfAnIdleConnectionIsNoFailedAttempt(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(*net.TCPConn){
		"closed":    func(conn *net.TCPConn) { _ = conn.Close() },
		"reset":     func(conn *net.TCPConn) { _ = conn.SetLinger(0); _ = conn.Close() },
		"told":      func(conn *net.TCPConn) { _, _ = io.WriteString(conn, "HTTP/1.1 408 Timeout\r\n\r\n"); _ = conn.Close() },
		"misled":    func(conn *net.TCPConn) { _, _ = io.WriteString(conn, "HTTP/1.1 404 Not Found\r\n\r\n") },
		"half shut": func(conn *net.TCPConn) { _ = conn.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answered := make(chan struct{})
			f := newFarEnd(t, func(conn *net.TCPConn, next func() *http.Request) {
				if r := next(); r != nil {
					_, _ = io.Copy(io.Discard, r.Body)
				}
				_, _ = io.WriteString(conn, ok)
				<-answered
				leave(conn)
				next()
			})
			w := hookTo(t, f.url)
			for n := range int32(5) {
				require.Equal(t, succeeded, w.attempt(t.Context(), testMessage(), 1).verdict)
				answered <- struct{}{}
				awaitReadable(t, w)
				require.Equal(t, n+1, f.connections.Load())
				require.Equal(t, n+1, f.posts.Load())
			}
		})
	}
}

// Whenever it breaks, the far end has the request once.
func TestADirectPostIsSentOnce(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*net.TCPConn){
		"closed":        func(*net.TCPConn) {},
		"reset":         func(conn *net.TCPConn) { _ = conn.SetLinger(0) },
		"in the header": func(conn *net.TCPConn) { _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n") },
	} {
		for kept, before := range map[string]int32{"new connection": 0, "kept connection": 3} {
			t.Run(name+" on a "+kept, func(t *testing.T) {
				t.Parallel()
				f := newFarEnd(t, func(conn *net.TCPConn, next func() *http.Request) {
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
				w := hookTo(t, f.url)
				for range before {
					require.Equal(t, succeeded, w.attempt(t.Context(), testMessage(), 1).verdict)
				}
				a := w.attempt(t.Context(), testMessage(), 1)
				require.Equal(t, retryable, a.verdict)
				require.Equal(t, "connection closed without an answer", a.text)
				require.Equal(t, before+1, f.posts.Load())
				require.EqualValues(t, 1, f.connections.Load())
			})
		}
	}
}

// closing tells of each connection that the sender has closed.
func closing(t *testing.T, hold func()) (f *farEnd, closed chan struct{}) {
	t.Helper()
	closed = make(chan struct{}, 16)
	return newFarEnd(t, func(conn *net.TCPConn, next func() *http.Request) {
		for r := next(); r != nil; r = next() {
			_, _ = io.Copy(io.Discard, r.Body)
			hold()
			_, _ = io.WriteString(conn, ok)
		}
		closed <- struct{}{}
	}), closed
}

// together makes attempts that are all in flight at once.
func together(t *testing.T, w *webhook, count int) {
	t.Helper()
	answers := make(chan answer, count)
	var flight sync.WaitGroup
	for range count {
		flight.Go(func() { answers <- w.attempt(t.Context(), testMessage(), 1) })
	}
	flight.Wait()
	for range count {
		require.Equal(t, succeeded, (<-answers).verdict)
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
		f, closed := closing(t, meet())
		w := hookTo(t, f.url)
		directOf(w).patience = 10 * time.Millisecond
		together(t, w, count)
		for range count {
			<-closed
		}
		d := directOf(w)
		require.Eventually(t, func() bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.sweeper == nil && len(d.idle) == 0
		}, time.Minute, time.Millisecond)
	})
	t.Run("at the end", func(t *testing.T) {
		t.Parallel()
		var first atomic.Int32
		all := meet()
		f, closed := closing(t, func() {
			if first.Add(1) <= count {
				all()
			}
		})
		w := hookTo(t, f.url)
		together(t, w, count)
		require.Len(t, directOf(w).idle, count)
		large := testMessage()
		large.Payload = bytes.Repeat([]byte("1"), maxDirect+1)
		require.Equal(t, succeeded, w.attempt(t.Context(), large, 1).verdict)
		w.close()
		for range count + 1 {
			<-closed
		}
	})
	t.Run("beyond the concurrency", func(t *testing.T) {
		t.Parallel()
		f, closed := closing(t, meet())
		w := hookTo(t, f.url, func(c *Config) { c.Concurrency = 1 })
		together(t, w, count)
		for range count - 1 {
			<-closed
		}
		require.Len(t, directOf(w).idle, 1)
	})
}

func TestTheTimeoutCoversTheDialAndASlowHeader(t *testing.T) {
	t.Parallel()
	f := newFarEnd(t, func(conn *net.TCPConn, next func() *http.Request) {
		next()
		for line := "HTTP/1.1 200 OK\r\n"; ; line = "X: y\r\n" {
			if _, err := io.WriteString(conn, line); err != nil {
				return
			}
		}
	})
	w := hookTo(t, f.url, timeout(50*time.Millisecond))
	directOf(w).dialer.ControlContext = func(ctx context.Context, _, _ string, _ syscall.RawConn) error {
		<-ctx.Done()
		return ctx.Err()
	}
	a := w.attempt(t.Context(), testMessage(), 1)
	require.Equal(t, "timeout after 50ms", a.text)
}

// The end of the context cuts an attempt off wherever it is.
func TestADirectAttemptEndsWithItsContext(t *testing.T) {
	t.Parallel()
	t.Run("dialing", func(t *testing.T) {
		t.Parallel()
		w := hookTo(t, "http://127.0.0.1:1", timeout(time.Hour))
		ctx, cancel := context.WithCancel(t.Context())
		directOf(w).dialer.ControlContext = func(ctx context.Context, _, _ string, _ syscall.RawConn) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}
		require.Equal(t, "context canceled", w.attempt(ctx, testMessage(), 1).text)
	})
	for name, said := range map[string]string{"before the header": "", "in the header": "HTTP/1.1 200 O", "in the body": ok[:len(ok)-1]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			closed := make(chan struct{})
			f := newFarEnd(t, func(conn *net.TCPConn, next func() *http.Request) {
				_, _ = io.Copy(io.Discard, next().Body)
				_, _ = io.WriteString(conn, said)
				cancel(errors.New("enough"))
				next()
				close(closed)
			})
			w := hookTo(t, f.url, timeout(time.Hour))
			a := w.attempt(ctx, testMessage(), 1)
			<-closed
			require.Empty(t, directOf(w).idle)
			if a.verdict == retryable { // a header that arrives with the end may still count
				require.Equal(t, "enough", a.text)
			}
			if name != "in the body" {
				require.Equal(t, retryable, a.verdict)
			}
			require.EqualValues(t, 1, f.posts.Load())
		})
	}
}

func TestADirectConnectionThatThisMachineLacksIsNoAttempt(t *testing.T) {
	t.Parallel()
	w := hookTo(t, "http://127.0.0.1:1")
	directOf(w).dialer.ControlContext = func(context.Context, string, string, syscall.RawConn) error {
		return os.NewSyscallError("socket", syscall.EMFILE)
	}
	require.ErrorIs(t, w.attempt(t.Context(), testMessage(), 1).unsent, syscall.EMFILE)
}
