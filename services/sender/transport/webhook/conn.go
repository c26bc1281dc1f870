package webhook

import (
	"cmp"
	"net"
	"sync"
	"time"

	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// phase is what a connection is doing.
type phase int

const (
	unused     phase = iota // no request was announced yet: bytes pass unchanged
	announced               // a request is about to be written
	written                 // a part of it is written, and nothing of the response has arrived
	responding              // the response has begun
	finished                // the response is read
)

// checkedConn is a connection that carries requests of HTTP/1.1, one at a
// time. It keeps a request from getting a response that is not its own.
// Receivers that break the rules send more than their response announces, for
// example content after a 204. These bytes may arrive before the next request
// is written, or after it.
//
//   - If bytes arrive before the request is written, the connection is useless,
//     and nothing is written on it.
//   - If bytes arrive later on a connection that was used before, everything up
//     to the next status line is dropped. The connection then carries no other
//     request.
//
// A new connection has no earlier response, so whatever arrives on it is the
// response.
type checkedConn struct {
	net.Conn
	tcp       *tcpConn // nil if it is none, which only happens in tests
	encrypted bool     // Conn is TLS over tcp

	mu      sync.Mutex
	changed *sync.Cond // about reading and closed
	reading bool       // a Read waits for bytes
	closed  bool
	phase   phase
	uses    int       // number of requests, including the present one
	wrote   bool      // a part of the present request is written
	spoiled bool      // the present request must not be written
	broken  bool      // no other request may follow
	until   time.Time // until when the connection may be idle; zero for no limit
	pending []byte    // possibly the beginning of a status line, or the response after dropped bytes
	dropped int       // bytes
}

// newCheckedConn returns a checkedConn over conn, which is tcp itself or TLS
// over it. Only if tcp comes from newTCPConn, unexpected bytes are noticed
// before the next request.
func newCheckedConn(conn, tcp net.Conn) *checkedConn {
	c := &checkedConn{Conn: conn, encrypted: conn != tcp}
	c.changed = sync.NewCond(&c.mu)
	c.tcp, _ = tcp.(*tcpConn)
	return c
}

// awaitReader returns once a Read waits for bytes, or the connection is
// closed. It is for net/http, which reads in a goroutine of its own. While
// nothing waits, that goroutine holds bytes that it has not judged yet; it
// closes the connection if they arrived without a request.
func (c *checkedConn) awaitReader() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.reading && !c.closed {
		c.changed.Wait()
	}
}

// begin announces the next request and returns its number. If the connection
// can't carry a request, ok is false and the connection is closed.
func (c *checkedConn) begin() (use int, ok bool) {
	if use, ok = c.announce(); !ok {
		_ = c.Close()
	}
	return use, ok
}

func (c *checkedConn) announce() (use int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	expired := !c.until.IsZero() && time.Now().After(c.until)
	c.spoiled = c.closed || c.broken || expired || c.hasUnread()
	c.uses++
	c.phase, c.wrote, c.until = announced, false, time.Time{}
	return c.uses, !c.spoiled
}

// hasUnread reports whether bytes have arrived that belong to no request, or
// the receiver has closed the connection.
func (c *checkedConn) hasUnread() bool {
	switch {
	case c.tcp == nil:
		return false
	case !c.encrypted:
		return c.tcp.hasUnread()
	case c.uses == 0: // there may be session tickets to read
		return false
	case c.reading: // by net/http's goroutine, which lets TLS read its tickets
		return c.tcp.hasUnread()
	}
	return c.tcp.readsMore(c.Conn)
}

// keep says that the response to a request is read, and for how long the
// connection may be idle from now on.
func (c *checkedConn) keep(use int, idle time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.uses == use { // net/http may have begun another one
		c.phase, c.until = finished, time.Now().Add(idle)
	}
}

// intact reports whether the response left the connection fit for another
// request.
func (c *checkedConn) intact() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.broken && !c.closed
}

// retire closes the connection after the response to a request. If another
// request has begun meanwhile, the connection is closed after that one.
func (c *checkedConn) retire(use int) {
	c.mu.Lock()
	c.broken = true
	last := c.uses == use
	c.mu.Unlock()
	if last {
		_ = c.Close()
	}
}

// hasWritten reports whether a part of the present request may have reached
// the receiver.
func (c *checkedConn) hasWritten() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wrote
}

// Write writes nothing of a request if bytes that arrived earlier could be
// taken for its response.
func (c *checkedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.spoiled {
		c.mu.Unlock()
		return 0, errUnsolicited
	}
	if c.phase == announced {
		c.phase = written
	}
	c.mu.Unlock()
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.mu.Lock()
		c.wrote = true
		c.mu.Unlock()
	}
	return n, err
}

// Read returns what belongs to the response.
func (c *checkedConn) Read(p []byte) (int, error) {
	for {
		if n := c.takePending(p); n > 0 || len(p) == 0 {
			return n, nil
		}
		n, err := c.Conn.Read(p)
		n, unsolicited := c.received(p[:n])
		if n > 0 || err != nil || unsolicited != nil {
			return n, cmp.Or(unsolicited, err)
		}
	}
}

// takePending returns the part of the response that was found after dropped
// bytes. If there is none, it notes that a Read is about to wait.
func (c *checkedConn) takePending(p []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == responding && len(c.pending) > 0 {
		n := copy(p, c.pending)
		c.pending = c.pending[n:]
		return n
	}
	c.reading = true
	c.changed.Broadcast()
	return 0
}

// received judges bytes that were just read and returns how many of them, from
// the first, the reader gets now.
func (c *checkedConn) received(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = false
	if c.tcp != nil {
		c.tcp.setJudged()
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case c.phase == announced, c.phase == finished:
		c.spoiled, c.broken = true, true
		return 0, errUnsolicited
	case c.phase != written:
		return len(p), nil
	case c.uses == 1 || len(c.pending) == 0 && statusLine(p) == 0:
		c.phase = responding
		return len(p), nil
	}
	c.pending = append(c.pending, p...)
	start := statusLine(c.pending)
	if start >= 0 {
		c.phase = responding
		c.drop(start)
		return 0, nil // the next takePending returns the rest
	}
	c.drop(max(0, len(c.pending)-statusLineLength+1))
	if c.dropped > transport.MaxBody {
		return 0, errNoResponse
	}
	return 0, nil
}

// drop forgets the first n pending bytes.
func (c *checkedConn) drop(n int) {
	c.pending = c.pending[n:]
	c.dropped += n
	c.broken = c.broken || n > 0
}

// Close closes the connection. Only the first call reaches it.
func (c *checkedConn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.changed.Broadcast()
	c.mu.Unlock()
	if !first {
		return net.ErrClosed
	}
	return c.Conn.Close()
}
