package webhook

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// maxHTTP1Body is the largest body that http1Client sends. A body of this size
// fits into the kernel's buffers whether the receiver reads it or not. So
// writing it never keeps the sender from reading an early response.
const maxHTTP1Body = 16 << 10

// connOptions are what the connections of a client have in common.
type connOptions struct {
	maxIdleConns int // per host
	idleTimeout  time.Duration
	bodyTimeout  time.Duration // for reading a response after its header
	proxy        func(*http.Request) (*url.URL, error)
	dialer       net.Dialer
	tls          *tls.Config // nil for the defaults
}

// paths chooses the HTTP client for a request. It uses them without an
// http.Client, so that nothing follows redirects, keeps cookies or puts the
// URL into errors.
type paths struct {
	options  connOptions
	standard standardClient

	mu    sync.Mutex
	hosts map[host]*http1Client // nil for a host that only net/http can reach
}

// host identifies where connections lead.
type host struct{ scheme, address string }

func newPaths(o connOptions) *paths {
	return &paths{options: o, standard: newStandardClient(o), hosts: map[host]*http1Client{}}
}

// roundTrip sends a request and returns the response's header. It returns
// errTimeout if there is none at the deadline. The body breaks off after
// bodyTimeout, and at the end of the request's context.
func (p *paths) roundTrip(request *http.Request, deadline time.Time) (*http.Response, error) {
	if request.ContentLength <= maxHTTP1Body {
		if client := p.http1(request.URL); client != nil && !client.http2.Load() {
			response, err := client.roundTrip(request, deadline)
			if !errors.Is(err, errHTTP2) {
				return response, err
			}
		}
	}
	return p.standard.roundTrip(request, deadline)
}

// http1 returns the client for the host of a URL; nil if requests to it need
// net/http, because they go through a proxy or the host's name is not ASCII.
func (p *paths) http1(u *url.URL) *http1Client {
	key := host{u.Scheme, u.Host}
	p.mu.Lock()
	defer p.mu.Unlock()
	client, known := p.hosts[key]
	if known {
		return client
	}
	proxy, err := p.options.proxy(&http.Request{URL: u})
	foreign := strings.ContainsFunc(u.Host, func(r rune) bool { return r >= utf8.RuneSelf })
	if proxy == nil && err == nil && !foreign {
		client = newHTTP1Client(u, p.options)
	}
	p.hosts[key] = client
	return client
}

// closeIdle closes the connections that carry no request.
func (p *paths) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, client := range p.hosts {
		if client != nil {
			client.closeIdle()
		}
	}
	p.standard.CloseIdleConnections()
}
