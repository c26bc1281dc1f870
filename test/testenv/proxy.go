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

// Proxy forwards connections to a server and can do to them what a network does.
// Without a fault it forwards everything, half-closes included. It is safe for
// concurrent use.
type Proxy struct {
	Name string
	URL  string // leads to the server through the proxy

	target   string
	listener net.Listener

	mu      sync.Mutex
	fault   Fault
	changed chan struct{} // closed when the fault changes
	pairs   map[*pair]struct{}
}

// Fault is what is wrong with a proxy. The zero value is a proxy that works.
type Fault struct {
	Refuse bool // new connections are reset at once
	Up     Flow // from the client to the server
	Down   Flow // and back
}

// Flow is what is wrong in one direction.
type Flow struct {
	Stall bool          // nothing passes; what has arrived passes later
	Delay time.Duration // before each piece
	Slice int           // the most bytes of a piece; 0: 64 KiB
	Rate  int           // bytes per second; 0: unlimited
	Limit int           // the connection breaks after this many bytes; 0: never
}

// NewProxy puts a proxy in front of the server of a URL.
func NewProxy(t testing.TB, name, target string) *Proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatalf("proxy to %s: %v", target, err)
	}
	proxy := &Proxy{Name: name, target: u.Host, listener: embeddedtest.Listen(t), changed: make(chan struct{}), pairs: map[*pair]struct{}{}}
	proxy.URL = strings.Replace(target, u.Host, proxy.listener.Addr().String(), 1)
	t.Cleanup(func() {
		_ = proxy.listener.Close()
		proxy.Heal()
		proxy.Reset()
	})
	go proxy.serve()
	return proxy
}

func (proxy *Proxy) serve() {
	for {
		client, err := proxy.listener.Accept()
		if err != nil {
			return
		}
		go proxy.forward(client)
	}
}

func (proxy *Proxy) forward(client net.Conn) {
	if fault, _ := proxy.now(); fault.Refuse {
		reset(client)
		return
	}
	server, err := net.DialTimeout("tcp", proxy.target, WaitTimeout)
	if err != nil {
		reset(client)
		return
	}
	p := &pair{proxy: proxy, client: client, server: server}
	proxy.mu.Lock()
	proxy.pairs[p] = struct{}{}
	proxy.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pass(client, server, func(f Fault) Flow { return f.Up }) })
	both.Go(func() { p.pass(server, client, func(f Fault) Flow { return f.Down }) })
	both.Wait()
	_ = client.Close()
	_ = server.Close()
	proxy.mu.Lock()
	delete(proxy.pairs, p)
	proxy.mu.Unlock()
}

func (proxy *Proxy) now() (Fault, <-chan struct{}) {
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	return proxy.fault, proxy.changed
}

// Set sets the fault, for open connections too.
func (proxy *Proxy) Set(fault Fault) {
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	proxy.fault = fault
	close(proxy.changed)
	proxy.changed = make(chan struct{})
}

// Heal removes the fault.
func (proxy *Proxy) Heal() { proxy.Set(Fault{}) }

// Cut lets nothing pass any more. Neither side is told.
func (proxy *Proxy) Cut() { proxy.Set(Fault{Up: Flow{Stall: true}, Down: Flow{Stall: true}}) }

// Reset resets every open connection, so that both sides notice.
func (proxy *Proxy) Reset() {
	for _, p := range proxy.open() {
		p.reset()
	}
}

// HalfClose ends every open connection in one direction: the reader finds its
// end, and can still write.
func (proxy *Proxy) HalfClose(up bool) {
	for _, p := range proxy.open() {
		to := p.client
		if up {
			to = p.server
		}
		_ = to.(*net.TCPConn).CloseWrite() // a connection that is gone needs no end
	}
}

func (proxy *Proxy) open() []*pair {
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	list := make([]*pair, 0, len(proxy.pairs))
	for p := range proxy.pairs {
		list = append(list, p)
	}
	return list
}

// pair is a connection through the proxy: the client's, and the one to the
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

// pass copies one direction and applies the fault.
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
