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

type knownListener struct {
	net.Listener
	conns *Connections
}

// Accept returns the next connection that may stay. A process that is out of
// descriptors makes room and goes on: an error would be the end of the service.
func (l knownListener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		switch {
		case exhausted(err):
			l.conns.mu.Lock()
			l.conns.makeRoom()
			l.conns.mu.Unlock()
			<-time.After(acceptPause)
			continue
		case err != nil:
			return nil, err
		}
		conn := &knownConn{Conn: inner, conns: l.conns, requests: framing.NewReader(inner)}
		if l.conns.add(conn) {
			return conn, nil
		}
		go refuseConnection(inner)
	}
}

// acceptPause lies between two tries of a process that can open nothing more.
const acceptPause = 10 * time.Millisecond

// exhausted says whether an error is one of the moment: no descriptors, no
// memory for another connection.
func exhausted(err error) bool {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// refuseConnection answers a connection that can't be served.
func refuseConnection(conn net.Conn) {
	defer conn.Close()
	p := message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemOverloaded, "too many connections", message.RetrySoon)
	body := p.JSON()
	_ = conn.SetDeadline(time.Now().Add(lingerWait)) // a broken connection shows at the write
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nRetry-After: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		p.Status, p.Title, message.MediaTypeProblem, p.RetryAfterSeconds(), len(body), body)
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, conn, refusedSize) // else it might be reset before the answer is read
	}
}

// knownConn is a connection that its connections know.
type knownConn struct {
	net.Conn
	conns    *Connections
	requests *framing.Reader
	lingers  atomic.Bool
}

// Read reads requests. It ends at one that could be read in two ways.
func (c *knownConn) Read(p []byte) (int, error) { return c.requests.Read(p) }

// BrokenFraming says why a connection can't be read any further, if that is
// so because of how a request is framed.
func BrokenFraming(conn net.Conn) *framing.Error {
	if known, ok := conn.(*knownConn); ok {
		return known.requests.Err()
	}
	return nil
}

// Bounds of how much of an unread request is awaited when its connection is
// closed: the pause between two pieces of it, all of it, and its size.
const (
	lingerPause = 500 * time.Millisecond
	lingerWait  = 10 * time.Second
	lingerBytes = 64 << 20
	refusedSize = 16 << 10 // of the request on a connection that can not be served
)

// Linger has a connection closed gently: closing it at once, with a request
// on it that was not read to its end, would reset it, and the client might
// never see its answer.
func Linger(conn net.Conn) {
	if known, ok := conn.(*knownConn); ok {
		known.lingers.Store(true)
	}
}

// Close closes the connection, after a while if it lingers.
func (c *knownConn) Close() error {
	c.conns.remove(c)
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || !c.lingers.Load() || half.CloseWrite() != nil {
		return c.Conn.Close()
	}
	go func() {
		defer c.Conn.Close()
		_, _ = io.CopyN(io.Discard, &remains{c.Conn, time.Now().Add(lingerWait)}, lingerBytes) // whatever ends it, the client has had its time
	}()
	return nil
}

// remains is what still comes on a connection that is closed.
type remains struct {
	net.Conn
	until time.Time
}

func (r *remains) Read(p []byte) (int, error) {
	pause := time.Now().Add(lingerPause)
	if pause.After(r.until) {
		pause = r.until
	}
	if err := r.SetReadDeadline(pause); err != nil {
		return 0, err
	}
	return r.Conn.Read(p)
}
