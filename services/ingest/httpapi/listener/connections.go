package listener

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// New returns connections of which so many may be open; 0: any number.
func New(limit int) *Connections {
	return &Connections{state: map[net.Conn]connState{}, limit: limit}
}

// Connections knows which Connections carry a request, so that a drain does
// not wait for clients that have none. It is safe for
// concurrent use.
type Connections struct {
	mu       sync.Mutex
	state    map[net.Conn]connState
	open     int // those that are not leaving
	limit    int // of open ones; 0: none
	draining bool
}

// connState is what a connection is doing.
type connState int8

const (
	idle    connState = iota // no request has begun: its header is not there
	busy                     // it carries a request
	leaving                  // it was told to end, to make room for another
)

// spareDescriptors are kept from clients, for all that the service itself has
// to open: Postgres, NATS, Redis, whatever comes back after an outage.
const spareDescriptors = 96

// maxConnections is how many connections clients have at most.
const maxConnections = 8192

// ConnectionLimit is how many connections clients may have.
func ConnectionLimit() int {
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) != nil {
		return maxConnections
	}
	return int(min(maxConnections, max(files.Cur, 2*spareDescriptors)-spareDescriptors))
}

// Listen wraps a listener whose connections are to be known.
func (c *Connections) Listen(inner net.Listener) net.Listener {
	return knownListener{Listener: inner, conns: c}
}

// Begin marks a connection as busy until the returned function is called.
func (c *Connections) Begin(conn net.Conn) (end func()) {
	c.set(conn, busy)
	return func() { c.set(conn, idle) }
}

func (c *Connections) set(conn net.Conn, state connState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.state[conn]
	if !known {
		return
	}
	if before == leaving { // its request came at the last moment
		c.open++
	}
	c.state[conn] = state
}

// makeRoom has some connection end on which no request has begun. It is false
// when there is none.
func (c *Connections) makeRoom() bool {
	for conn, state := range c.state { // any: whoever has many of them loses most
		if state == idle {
			c.state[conn] = leaving
			c.open--
			Expire(conn)
			return true
		}
	}
	return false
}

// Drain has every connection closed on which no request has begun: fasthttp
// would wait for their read timeouts.
func (c *Connections) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	for conn, state := range c.state {
		if state != busy {
			Expire(conn)
		}
	}
}

// Extend gives the next read of a connection its time; none once a drain has
// begun.
func (c *Connections) Extend(conn net.Conn, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		Expire(conn)
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(wait)) // a broken connection shows at the read
}

func (c *Connections) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.state)
}

func (c *Connections) IsDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// add takes a connection in; when there are as many as there may be, another
// has to go that has no request. It is false when all have one.
func (c *Connections) add(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit > 0 && c.open >= c.limit && !c.makeRoom() {
		return false
	}
	c.state[conn] = idle
	c.open++
	if c.draining {
		Expire(conn)
	}
	return true
}

func (c *Connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state, known := c.state[conn]; known && state != leaving {
		c.open--
	}
	delete(c.state, conn)
}

// Expire ends a read that waits for a request.
func Expire(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now()) // closed already: so much the better
}
