package sender

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

const (
	// idleTimeout is how long a connection is kept that carries no request.
	// Many receivers close theirs after 5 s (Node.js, Apache).
	idleTimeout = 4 * time.Second
	// responseWait is how long a response is read after its header.
	responseWait = 2 * time.Second

	handshakeTimeout = 10 * time.Second
)

var errTimeout = errors.New("the webhook's time is over")

// unsentError says that nothing of the request has left this machine.
type unsentError struct{ error }

// Unwrap returns what was in the way.
func (e unsentError) Unwrap() error { return e.error }

// newTransport returns the road to a URL. It keeps a connection a request that
// may be in flight, and is used without an http.Client, so that nothing follows
// redirects, keeps cookies or puts the URL into errors.
func newTransport(u *url.URL, cfg Config, proxies func(*http.Request) (*url.URL, error), config *tls.Config) http.RoundTripper {
	rest := newTimed(newNetHTTP(cfg.Concurrency, proxies, config), cfg.WebhookTimeout)
	proxy, err := proxies(&http.Request{URL: u})
	foreign := strings.ContainsFunc(u.Host, func(r rune) bool { return r >= utf8.RuneSelf }) // net/http knows how to look it up
	if u.Scheme != "http" || proxy != nil || err != nil || foreign {
		return rest
	}
	return newDirect(u, cfg.Concurrency, rest)
}

func newDialer() net.Dialer {
	return net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
}

func newNetHTTP(concurrency int, proxies func(*http.Request) (*url.URL, error), config *tls.Config) *http.Transport {
	dialer := checkingDialer{Dialer: newDialer(), config: config}
	return &http.Transport{
		Proxy:                  proxies,
		DialContext:            dialer.dial,
		DialTLSContext:         dialer.dialTLS, // without a proxy
		TLSClientConfig:        config,         // through one
		TLSHandshakeTimeout:    handshakeTimeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    concurrency,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxResponse,
		DisableCompression:     true, // responses are small; what is packed all the same is unpacked by readBody
	}
}

// checkingDialer opens connections that check what arrives on them.
type checkingDialer struct {
	net.Dialer
	config *tls.Config // nil for the defaults
}

func (d *checkingDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	tcp := newTCPConn(conn)
	return newCheckedConn(tcp, tcp), nil
}

// dialTLS returns a *tls.Conn for HTTP/2, which frames what belongs together.
func (d *checkingDialer) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{}
	if d.config != nil {
		config = d.config.Clone()
	}
	config.NextProtos = []string{"h2", "http/1.1"}
	config.ServerName, _, _ = net.SplitHostPort(address)
	tcp := newTCPConn(conn)
	secured := tls.Client(tcp, config)
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if secured.ConnectionState().NegotiatedProtocol == "h2" {
		return secured, nil
	}
	return newCheckedConn(secured, tcp), nil
}

// timed is net/http's road, with the times of an attempt: it returns
// errTimeout when there is no header in time, and breaks the body off after
// responseWait.
type timed struct {
	*http.Transport
	timeout time.Duration
	// noReuse is set once a response that breaks the rules has come over a
	// connection that can't be checked: TLS through a proxy.
	noReuse *atomic.Bool
}

func newTimed(transport *http.Transport, timeout time.Duration) timed {
	return timed{transport, timeout, new(atomic.Bool)}
}

// RoundTrip is http.Transport's, with an unsentError where that is known. A
// request for which a kept connection was of no use any more is made on
// another.
func (t timed) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	limit := time.AfterFunc(t.timeout, func() { cancel(errTimeout) })
	for {
		used := new(usedConn)
		response, err := t.try(request.WithContext(httptrace.WithClientTrace(ctx, used.trace())))
		if err == nil {
			limit.Reset(responseWait)
			end := func() { limit.Stop(); cancel(nil) }
			response.Body = timedBody{response.Body, sync.OnceFunc(func() { t.leave(used, response); end() })}
			return response, nil
		}
		if ctx.Err() == nil && used.wasted() && rewind(request) {
			continue
		}
		if errors.Is(context.Cause(ctx), errTimeout) {
			err = errTimeout
		}
		limit.Stop()
		cancel(nil)
		if !used.wrote() {
			err = unsentError{err}
		}
		return nil, err
	}
}

func (t timed) try(request *http.Request) (*http.Response, error) {
	request.Close = t.noReuse.Load()
	response, err := t.Transport.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusSwitchingProtocols {
		_ = response.Body.Close() // it is the connection itself, which the end of a context does not reach
		response.Body = http.NoBody
	}
	return response, err
}

// leave decides about the connection of a response that was read.
func (t timed) leave(u *usedConn, response *http.Response) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.conn == nil:
		if response.ProtoMajor == 1 && breaksOff(response) && !t.noReuse.Swap(true) {
			t.CloseIdleConnections()
		}
	case breaksOff(response) || !u.conn.reusable():
		u.conn.retire(u.use)
	default:
		u.conn.keep(u.use, idleFor(response.Header))
	}
}

// rewind lets a request be sent from its beginning again.
func rewind(request *http.Request) bool {
	if request.GetBody == nil {
		return request.Body == nil
	}
	body, err := request.GetBody()
	request.Body = body
	return err == nil
}

// usedConn is what is known of the connection that net/http has chosen.
type usedConn struct {
	mu     sync.Mutex
	chosen bool
	conn   *checkedConn // nil for one that can't be checked
	use    int
}

func (u *usedConn) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.chosen = true
		if u.conn, _ = info.Conn.(*checkedConn); u.conn != nil {
			u.conn.awaitReader()
			u.use, _ = u.conn.begin() // on one that is closed, net/http writes nothing
		}
	}}
}

// wrote says whether a part of the request may have reached the webhook.
func (u *usedConn) wrote() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.chosen && (u.conn == nil || u.conn.hasWritten())
}

// wasted says whether nothing was written only because the connection was of
// an earlier request.
func (u *usedConn) wasted() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.conn != nil && u.use > 1 && !u.conn.hasWritten()
}

// timedBody ends the times of its attempt when it is closed.
type timedBody struct {
	io.ReadCloser
	end func()
}

// Close ends the attempt.
func (b timedBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}
