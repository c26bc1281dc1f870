package testenv

import (
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
)

// Proxy is the way to a server, on which everything can happen that happens on
// a network. Without a fault it passes all on, a half-close too. It is safe
// for concurrent use.
type Proxy struct {
	Name string
	URL  string // the server's, by way of the link

	target   string
	listener net.Listener

	mu      sync.Mutex
	fault   Fault
	changed chan struct{} // closed when the fault is another
	pairs   map[*pair]struct{}
}

// Fault is what is wrong with a link. The zero value is a link that works.
type Fault struct {
	Refuse bool // new connections are reset at once
	Up     Flow // from the client to the server
	Down   Flow // and back
}

// Flow is what is wrong in one direction.
type Flow struct {
	Stall bool          // nothing passes; what waits passes later
	Delay time.Duration // before each piece
	Slice int           // pieces are so many bytes at most; 0: 64 KiB
	Rate  int           // bytes a second; 0: as fast as it goes
	Limit int           // the connection breaks after so many bytes; 0: never
}

// NewProxy puts a link before the server of a URL.
func NewProxy(t testing.TB, name, target string) *Proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatalf("link to %s: %v", target, err)
	}
	l := &Proxy{Name: name, target: u.Host, listener: embeddedtest.Listen(t), changed: make(chan struct{}), pairs: map[*pair]struct{}{}}
	l.URL = strings.Replace(target, u.Host, l.listener.Addr().String(), 1)
	t.Cleanup(func() {
		_ = l.listener.Close()
		l.Heal()
		l.Reset()
	})
	go l.serve()
	return l
}

func (l *Proxy) serve() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.forward(client)
	}
}

func (l *Proxy) forward(client net.Conn) {
	if fault, _ := l.now(); fault.Refuse {
		reset(client)
		return
	}
	server, err := net.DialTimeout("tcp", l.target, WaitTimeout)
	if err != nil {
		reset(client)
		return
	}
	p := &pair{proxy: l, client: client, server: server}
	l.mu.Lock()
	l.pairs[p] = struct{}{}
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pass(client, server, func(f Fault) Flow { return f.Up }) })
	both.Go(func() { p.pass(server, client, func(f Fault) Flow { return f.Down }) })
	both.Wait()
	_ = client.Close()
	_ = server.Close()
	l.mu.Lock()
	delete(l.pairs, p)
	l.mu.Unlock()
}

func (l *Proxy) now() (Fault, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault, l.changed
}

// Set makes a fault the present one, for open connections too.
func (l *Proxy) Set(fault Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = fault
	close(l.changed)
	l.changed = make(chan struct{})
}

// Heal takes any fault away.
func (l *Proxy) Heal() { l.Set(Fault{}) }

// Cut lets nothing pass any more, without a word to either side.
func (l *Proxy) Cut() { l.Set(Fault{Up: Flow{Stall: true}, Down: Flow{Stall: true}}) }

// Reset breaks every open connection off, so that both sides notice.
func (l *Proxy) Reset() {
	for _, p := range l.open() {
		p.reset()
	}
}

// HalfClose ends every open connection in one direction: the reader finds its
// end, and can still write.
func (l *Proxy) HalfClose(up bool) {
	for _, p := range l.open() {
		to := p.client
		if up {
			to = p.server
		}
		_ = to.(*net.TCPConn).CloseWrite() // a connection that is gone needs no end
	}
}

func (l *Proxy) open() []*pair {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]*pair, 0, len(l.pairs))
	for p := range l.pairs {
		list = append(list, p)
	}
	return list
}

// pair is a connection through the link: the client's, and the one to the
// server.
type pair struct {
	proxy          *Proxy
	client, server net.Conn
}

func (p *pair) reset() {
	reset(p.client)
	reset(p.server)
}

// reset closes a connection so that the other side sees it broken.
func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0) // it is closed either way
	_ = conn.Close()
}

// pass copies one direction, as badly as the fault wants it.
func (p *pair) pass(from, to net.Conn, side func(Fault) Flow) {
	const piece = 64 << 10
	buffer := make([]byte, piece)
	passed := 0 // under the present limit
	for {
		size := piece
		if fault, _ := p.proxy.now(); side(fault).Slice > 0 {
			size = min(size, side(fault).Slice)
		}
		n, err := from.Read(buffer[:size])
		flow := p.wait(side, n)
		if flow.Limit > 0 {
			if passed += n; passed > flow.Limit {
				p.reset()
				return
			}
		} else {
			passed = 0
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				p.reset() // so that a peer that still writes notices that nobody reads
				return
			}
		}
		if errors.Is(err, io.EOF) {
			_ = to.(*net.TCPConn).CloseWrite() // the other direction tells if it is gone
			return
		}
		if err != nil {
			p.reset()
			return
		}
	}
}

// wait takes the time that n bytes take, and returns the flow at its end.
func (p *pair) wait(side func(Fault) Flow, n int) Flow {
	for {
		fault, changed := p.proxy.now()
		flow := side(fault)
		pause := flow.Delay
		if flow.Rate > 0 {
			pause += time.Duration(n) * time.Second / time.Duration(flow.Rate)
		}
		var passed <-chan time.Time
		switch {
		case flow.Stall:
		case pause == 0:
			return flow
		default:
			passed = time.After(pause)
		}
		select {
		case <-passed:
			return flow
		case <-changed: // look again
		}
	}
}
