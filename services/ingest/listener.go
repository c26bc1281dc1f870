package ingest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// connections knows which connections carry a request, so that a drain does
// not wait for clients that have none. The zero value is ready; it is safe
// for concurrent use.
type connections struct {
	mu       sync.Mutex
	busy     map[net.Conn]bool
	draining bool
}

// listen wraps a listener whose connections are to be known.
func (c *connections) listen(inner net.Listener) net.Listener {
	return knownListener{Listener: inner, conns: c}
}

// begin marks a connection as busy until the returned function is called.
func (c *connections) begin(conn net.Conn) (end func()) {
	c.set(conn, true)
	return func() { c.set(conn, false) }
}

func (c *connections) set(conn net.Conn, busy bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.busy[conn]; known {
		c.busy[conn] = busy
	}
}

// drain has every connection closed on which no request has begun: fasthttp
// would wait for their read timeouts.
func (c *connections) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	for conn, busy := range c.busy {
		if !busy {
			expire(conn)
		}
	}
}

// extend gives the next read of a connection its time; none once a drain has
// begun.
func (c *connections) extend(conn net.Conn, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		expire(conn)
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(wait)) // a broken connection shows at the read
}

func (c *connections) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

func (c *connections) add(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy == nil {
		c.busy = map[net.Conn]bool{}
	}
	c.busy[conn] = false
	if c.draining {
		expire(conn)
	}
}

func (c *connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, conn)
}

// expire ends a read that waits for a request.
func expire(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now()) // closed already: so much the better
}

type knownListener struct {
	net.Listener
	conns *connections
}

func (l knownListener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	conn := &knownConn{Conn: inner, conns: l.conns}
	l.conns.add(conn)
	return conn, nil
}

// knownConn is a connection that its connections know.
type knownConn struct {
	net.Conn
	conns   *connections
	lingers atomic.Bool
}

// Bounds of how much of an unread request is awaited when its connection is
// closed: the pause between two pieces of it, all of it, and its size.
const (
	lingerPause = 500 * time.Millisecond
	lingerWait  = 10 * time.Second
	lingerBytes = maxDiscarded
)

// linger has a connection closed gently: closing it at once, with a request
// on it that was not read to its end, would reset it, and the client might
// never see its answer.
func linger(conn net.Conn) {
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
