package sender

import (
	"bytes"
	"cmp"
	"errors"
	"net"
	"sync"
	"time"
)

// errUnsolicited says that something was received for which no request was
// made, or that the connection was closed meanwhile.
var errUnsolicited = errors.New("the connection was closed, or the webhook sent bytes before it had the request")

// errNoResponse says that what came instead of a response is too long.
var errNoResponse = errors.New("what the webhook sent contains no response")

// phase is what a connection is doing.
type phase int

const (
	inert      phase = iota // nobody has announced a request: bytes pass as they are
	begun                   // a request is about to be written
	written                 // a part of it is written, and nothing of the response has come
	responding              // the response has begun
	over                    // the response is read
)

// checkedConn is a connection that carries requests of HTTP/1.1, one at a
// time. It keeps a request from getting a response that is not its own.
// Receivers that break the rules send more than their response announces, for
// example content after a 204. That may arrive before the next request is
// written, or behind it.
//
//   - What arrives before the request is written makes the connection useless,
//     and nothing is written on it.
//   - What arrives later on a connection that was used before is dropped up to
//     the next status line. The connection then carries no other request.
//
// A new connection has no earlier response, so whatever arrives on it is the
// response.
type checkedConn struct {
	net.Conn
	tcp       *tcpConn // nil if it is none, which only tests have
	encrypted bool     // more arrives over TCP than Read returns

	mu      sync.Mutex
	changed *sync.Cond // about reading and closed
	reading bool       // a Read waits for bytes
	closed  bool
	phase   phase
	uses    int       // requests so far, with the present one
	wrote   bool      // a part of the present request is written
	spoiled bool      // the present request must not be written
	broken  bool      // no other request may follow
	until   time.Time // how long the connection may be idle; zero for as long as it is kept
	held    []byte    // what may be the beginning of a status line, or is yet to be read
	dropped int
}

// newCheckedConn returns a checkedConn over conn, which is tcp or TLS over it. To
// notice everything, tcp must come from newTCPConn.
func newCheckedConn(conn, tcp net.Conn) *checkedConn {
	c := &checkedConn{Conn: conn, encrypted: conn != tcp}
	c.changed = sync.NewCond(&c.mu)
	c.tcp, _ = tcp.(*tcpConn)
	return c
}

// awaitReader returns once a Read waits for bytes, or the connection is
// closed. net/http reads in a goroutine of its own. While nothing waits, that
// one holds bytes which it has not judged yet; it closes the connection if
// they come without a request.
func (c *checkedConn) awaitReader() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.reading && !c.closed {
		c.changed.Wait()
	}
}

// begin announces the next request and returns its number. ok is false, and
// the connection closed, if it can't carry one.
func (c *checkedConn) begin() (use int, ok bool) {
	if use, ok = c.announce(); !ok {
		_ = c.Close()
	}
	return use, ok
}

func (c *checkedConn) announce() (use int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	late := !c.until.IsZero() && time.Now().After(c.until)
	unread := c.unread()
	c.uses++
	c.phase, c.wrote, c.until = begun, false, time.Time{}
	c.spoiled = c.closed || c.broken || late || unread
	return c.uses, !c.spoiled
}

// unread says whether something has arrived that belongs to no request. A new
// TLS connection may have session tickets to read.
func (c *checkedConn) unread() bool {
	return c.tcp != nil && (!c.encrypted || c.uses > 0) && c.tcp.pending()
}

// keep says that the response to a request is read, and for how long the
// connection may be idle from now on.
func (c *checkedConn) keep(use int, idle time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.uses == use { // net/http may have begun another one
		c.phase, c.until = over, time.Now().Add(idle)
	}
}

// reusable says whether the response left the connection fit for another
// request.
func (c *checkedConn) reusable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.broken && !c.closed
}

// retire closes the connection after the response to a request, unless another
// request has begun meanwhile: then it is closed behind that.
func (c *checkedConn) retire(use int) {
	c.mu.Lock()
	c.broken = true
	last := c.uses == use
	c.mu.Unlock()
	if last {
		_ = c.Close()
	}
}

// hasWritten says whether a part of the present request may have reached the
// far end.
func (c *checkedConn) hasWritten() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wrote
}

// Write writes nothing of a request to which something that came earlier could
// be taken for the response.
func (c *checkedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.spoiled {
		c.mu.Unlock()
		return 0, errUnsolicited
	}
	if c.phase == begun {
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
		if n := c.takeHeld(p); n > 0 || len(p) == 0 {
			return n, nil
		}
		n, err := c.Conn.Read(p)
		n, refused := c.received(p[:n])
		if n > 0 || err != nil || refused != nil {
			return n, cmp.Or(refused, err)
		}
	}
}

// takeHeld returns what was found behind dropped bytes, and otherwise notes
// that a Read is about to wait.
func (c *checkedConn) takeHeld(p []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == responding && len(c.held) > 0 {
		n := copy(p, c.held)
		c.held = c.held[n:]
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
		c.tcp.judge()
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case c.phase == begun, c.phase == over:
		c.spoiled, c.broken = true, true
		return 0, errUnsolicited
	case c.phase != written:
		return len(p), nil
	case c.uses == 1 || len(c.held) == 0 && statusLine(p) == 0:
		c.phase = responding
		return len(p), nil
	}
	c.held = append(c.held, p...)
	start := statusLine(c.held)
	if start >= 0 {
		c.phase = responding
		c.drop(start)
		return 0, nil // the next takeHeld has it
	}
	c.drop(max(0, len(c.held)-statusLineLength+1))
	if c.dropped > maxResponse {
		return 0, errNoResponse
	}
	return 0, nil
}

// drop forgets the first bytes of what is held.
func (c *checkedConn) drop(n int) {
	c.held = c.held[n:]
	c.dropped += n
	c.broken = c.broken || n > 0
}

// statusLineLength is that of HTTP/1.1 and a status.
const statusLineLength = len("HTTP/1.1 200")

// statusLine returns where the first status line begins, or -1.
func statusLine(text []byte) int {
	for from := 0; ; {
		i := bytes.Index(text[from:], []byte("HTTP/1."))
		if i < 0 || len(text)-from-i < statusLineLength {
			return -1
		}
		from += i
		line := text[from : from+statusLineLength]
		if isDigits(line[7:8]) && line[8] == ' ' && isDigits(line[9:]) {
			return from
		}
		from++
	}
}

func isDigits(text []byte) bool {
	return len(text) > 0 && len(bytes.Trim(text, "0123456789")) == 0
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
