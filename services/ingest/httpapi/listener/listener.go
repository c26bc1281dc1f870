package listener

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service/framing"
)

const (
	acceptPause = 10 * time.Millisecond // between two tries if no connection can be opened
	refusedSize = 16 << 10              // bytes that are read of a request whose connection is refused

	// A connection that lingers reads on until no byte arrives for lingerPause,
	// and no longer than lingerTimeout or lingerBytes.
	lingerPause   = 500 * time.Millisecond
	lingerTimeout = 10 * time.Second
	lingerBytes   = 64 << 20
)

type trackingListener struct {
	net.Listener
	conns *Connections
}

// Accept returns the next connection that is within the limit. If the process
// has no file descriptors left, it closes an idle connection and continues: an
// error would stop the service.
func (l trackingListener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		switch {
		case isExhausted(err):
			l.conns.mu.Lock()
			l.conns.closeIdle()
			l.conns.mu.Unlock()
			<-time.After(acceptPause)
			continue
		case err != nil:
			return nil, err
		}
		conn := &trackedConn{Conn: inner, conns: l.conns, requests: framing.NewReader(inner)}
		if l.conns.add(conn) {
			return conn, nil
		}
		go refuse(inner)
	}
}

// isExhausted reports whether there are no file descriptors, or no memory, for
// another connection.
func isExhausted(err error) bool {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// refuse responds to a connection over the limit, and closes it.
func refuse(conn net.Conn) {
	defer conn.Close()
	p := message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemOverloaded, "too many connections", message.RetrySoon)
	body := p.JSON()
	_ = conn.SetDeadline(time.Now().Add(lingerTimeout)) // if the connection is broken, the write fails
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nRetry-After: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		p.Status, p.Title, message.MediaTypeProblem, p.RetryAfterSeconds(), len(body), body)
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, conn, refusedSize) // a reset could destroy the response
	}
}

// trackedConn is a connection of a trackingListener.
type trackedConn struct {
	net.Conn
	conns    *Connections
	requests *framing.Reader
	lingers  atomic.Bool
}

// Read reads requests. It ends at a request whose framing is ambiguous.
func (c *trackedConn) Read(p []byte) (int, error) { return c.requests.Read(p) }

// FramingError returns why a connection can't be read any further; nil if its
// framing is valid.
func FramingError(conn net.Conn) *framing.Error {
	if tracked, ok := conn.(*trackedConn); ok {
		return tracked.requests.Err()
	}
	return nil
}

// Linger delays the closing of a connection whose request was not read to its
// end. Closing it at once would reset it, and the client might not get the
// response.
func Linger(conn net.Conn) {
	if tracked, ok := conn.(*trackedConn); ok {
		tracked.lingers.Store(true)
	}
}

// Close closes the connection, after a while if it lingers.
func (c *trackedConn) Close() error {
	c.conns.remove(c)
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || !c.lingers.Load() || half.CloseWrite() != nil {
		return c.Conn.Close()
	}
	go func() {
		defer c.Conn.Close()
		rest := &lingeringReader{c.Conn, time.Now().Add(lingerTimeout)}
		_, _ = io.CopyN(io.Discard, rest, lingerBytes) // however it ends, the client had time to read
	}()
	return nil
}

// lingeringReader reads the rest of a request with a timeout for each read and
// one for all.
type lingeringReader struct {
	net.Conn
	until time.Time
}

func (r *lingeringReader) Read(p []byte) (int, error) {
	deadline := time.Now().Add(lingerPause)
	if deadline.After(r.until) {
		deadline = r.until
	}
	if err := r.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	return r.Conn.Read(p)
}
