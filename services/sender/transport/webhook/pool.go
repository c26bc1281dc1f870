package webhook

import (
	"slices"
	"sync"
	"time"
)

// pool holds the idle connections to one host. It is safe for concurrent use.
type pool struct {
	max     int           // how many connections may be idle
	timeout time.Duration // how long each may be idle

	mu      sync.Mutex
	conns   []*http1Conn // the one that is idle for longest comes first
	sweeper *time.Timer  // nil while there is nothing to sweep
}

// take removes the connection that was used last; nil if there is none.
func (p *pool) take() *http1Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.conns) - 1
	if last < 0 {
		return nil
	}
	conn := p.conns[last]
	p.conns = slices.Delete(p.conns, last, last+1)
	return conn
}

// put adds a connection, or closes it if the pool is full.
func (p *pool) put(conn *http1Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) >= p.max {
		conn.close()
		return
	}
	conn.idleSince = time.Now()
	p.conns = append(p.conns, conn)
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(p.timeout, p.sweep)
	}
}

// sweep closes the connections that have been idle for too long. It runs again
// when the next one is due.
func (p *pool) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.conns) > 0 {
		if left := p.timeout - time.Since(p.conns[0].idleSince); left > 0 {
			p.sweeper = time.AfterFunc(left, p.sweep)
			return
		}
		p.conns[0].close()
		p.conns = slices.Delete(p.conns, 0, 1)
	}
	p.sweeper = nil
}

// close closes every idle connection.
func (p *pool) close() {
	for conn := p.take(); conn != nil; conn = p.take() {
		conn.close()
	}
}
