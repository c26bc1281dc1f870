// Package listener accepts HTTP connections. It limits them, closes idle ones
// when the service drains, refuses requests with ambiguous framing, and lets
// clients read the response to a request that was not read to its end.
package listener

import (
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	maxConnections = 8192
	// reservedDescriptors are file descriptors that clients can't use up. The
	// service needs them to connect to Postgres, NATS and Redis after an outage.
	reservedDescriptors = 96
)

// ConnectionLimit returns how many connections this process can accept.
func ConnectionLimit() int {
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) != nil {
		return maxConnections
	}
	return int(min(maxConnections, max(files.Cur, 2*reservedDescriptors)-reservedDescriptors))
}

// connState is what a connection is doing.
type connState int8

const (
	idle    connState = iota // no request has begun: its header is not complete
	busy                     // it has a request
	closing                  // it is being closed to make room for another
)

// Connections knows which connections have a request. It is safe for concurrent
// use.
type Connections struct {
	mu       sync.Mutex
	state    map[net.Conn]connState
	open     int // those that are not closing
	limit    int // of open; 0: none
	draining bool
}

// New returns an empty Connections that allows limit open connections; 0 allows
// any number.
func New(limit int) *Connections {
	return &Connections{state: map[net.Conn]connState{}, limit: limit}
}

// Listen returns a listener whose connections it tracks.
func (c *Connections) Listen(inner net.Listener) net.Listener {
	return trackingListener{Listener: inner, conns: c}
}

// Begin marks a connection as busy until end is called.
func (c *Connections) Begin(conn net.Conn) (end func()) {
	c.setState(conn, busy)
	return func() { c.setState(conn, idle) }
}

func (c *Connections) setState(conn net.Conn, state connState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.state[conn]
	if !known {
		return
	}
	if before == closing { // its request arrived just before it was closed
		c.open++
	}
	c.state[conn] = state
}

// closeIdle closes one idle connection. It returns false if there is none.
func (c *Connections) closeIdle() bool {
	for conn, state := range c.state { // a random one: a client with many connections loses most
		if state == idle {
			c.state[conn] = closing
			c.open--
			Interrupt(conn)
			return true
		}
	}
	return false
}

// Drain closes all idle connections. Otherwise fasthttp waits for their read
// timeouts.
func (c *Connections) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	for conn, state := range c.state {
		if state != busy {
			Interrupt(conn)
		}
	}
}

// ExtendDeadline sets the timeout of a connection's next read. After Drain there
// is none.
func (c *Connections) ExtendDeadline(conn net.Conn, timeout time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		Interrupt(conn)
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(timeout)) // if the connection is broken, the read fails
}

// Count returns the number of connections.
func (c *Connections) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.state)
}

// IsDraining reports whether Drain was called.
func (c *Connections) IsDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// add adds a connection. At the limit it closes an idle one. It returns false if
// all are busy.
func (c *Connections) add(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit > 0 && c.open >= c.limit && !c.closeIdle() {
		return false
	}
	c.state[conn] = idle
	c.open++
	if c.draining {
		Interrupt(conn)
	}
	return true
}

func (c *Connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state, known := c.state[conn]; known && state != closing {
		c.open--
	}
	delete(c.state, conn)
}

// Interrupt ends a read that waits for a request.
func Interrupt(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now()) // fails only if the connection is closed
}
