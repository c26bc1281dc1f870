package webhook

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// standardClient is net/http's Transport with the limits of an attempt, for
// what http1Client does not do: HTTP/2, proxies and large bodies.
type standardClient struct {
	*http.Transport
	// noReuse is set once a response that breaks the rules has come over a
	// connection that can't be checked: TLS through a proxy.
	noReuse     *atomic.Bool
	bodyTimeout time.Duration
}

func newStandardClient(o connOptions) standardClient {
	d := dialer{o.dialer, o.tls}
	return standardClient{noReuse: new(atomic.Bool), bodyTimeout: o.bodyTimeout, Transport: &http.Transport{
		Proxy: o.proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return asConn(d.dialPlain(ctx, network, address))
		},
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) { // without a proxy
			secured, checked, err := d.dialSecure(ctx, network, address)
			if err == nil && checked == nil {
				return secured, nil
			}
			return asConn(checked, err)
		},
		TLSClientConfig:        o.tls.Clone(), // through a proxy; the Transport changes it
		TLSHandshakeTimeout:    handshakeTimeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    o.maxIdleConns,
		IdleConnTimeout:        o.idleTimeout,
		MaxResponseHeaderBytes: transport.MaxBody,
		DisableCompression:     true, // responses are small; readBody unpacks those that are packed nevertheless
	}}
}

// asConn avoids an interface that holds a nil pointer.
func asConn(checked *checkedConn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	return checked, nil
}

// roundTrip is paths.roundTrip for every request. If an idle connection turned
// out to be unusable before anything was written, the request goes over another
// connection.
func (c standardClient) roundTrip(request *http.Request, deadline time.Time) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	limit := time.AfterFunc(time.Until(deadline), func() { cancel(errTimeout) })
	for {
		used := new(usedConn)
		response, err := c.try(request.WithContext(httptrace.WithClientTrace(ctx, used.trace())))
		if err == nil {
			limit.Reset(c.bodyTimeout)
			end := func() { limit.Stop(); cancel(nil) }
			response.Body = timedBody{response.Body, sync.OnceFunc(func() { c.release(used, response); end() })}
			return response, nil
		}
		if ctx.Err() == nil && used.wasUnusable() && rewind(request) {
			continue
		}
		if errors.Is(context.Cause(ctx), errTimeout) {
			err = errTimeout
		}
		limit.Stop()
		cancel(nil)
		if !used.hasWritten() {
			err = notSentError{err}
		}
		return nil, err
	}
}

func (c standardClient) try(request *http.Request) (*http.Response, error) {
	request.Close = c.noReuse.Load()
	response, err := c.Transport.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusSwitchingProtocols {
		_ = response.Body.Close() // this body is the connection itself, and ignores the end of a context
		response.Body = http.NoBody
	}
	return response, err
}

// release decides about the connection of a response that was read.
func (c standardClient) release(u *usedConn, response *http.Response) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.conn == nil:
		if response.ProtoMajor == 1 && announcesForbiddenBody(response) && !c.noReuse.Swap(true) {
			c.CloseIdleConnections()
		}
	case announcesForbiddenBody(response) || !u.conn.intact():
		u.conn.retire(u.use)
	default:
		u.conn.keep(u.use, idleTimeoutOf(response.Header))
	}
}

// rewind prepares a request for being sent from its beginning again.
func rewind(request *http.Request) bool {
	if request.GetBody == nil {
		return request.Body == nil
	}
	body, err := request.GetBody()
	request.Body = body
	return err == nil
}

// usedConn is what is known about the connection that net/http has chosen.
type usedConn struct {
	mu     sync.Mutex
	chosen bool
	conn   *checkedConn // nil for a connection that can't be checked
	use    int
}

func (u *usedConn) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.chosen = true
		if u.conn, _ = info.Conn.(*checkedConn); u.conn != nil {
			u.conn.awaitReader()
			u.use, _ = u.conn.begin() // net/http writes nothing on a connection that begin has closed
		}
	}}
}

// hasWritten reports whether a part of the request may have reached the
// receiver.
func (u *usedConn) hasWritten() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.chosen && (u.conn == nil || u.conn.hasWritten())
}

// wasUnusable reports whether nothing was written because an idle connection
// had broken before.
func (u *usedConn) wasUnusable() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.conn != nil && u.use > 1 && !u.conn.hasWritten()
}

// timedBody ends the limits of its attempt when it is closed.
type timedBody struct {
	io.ReadCloser
	end func()
}

// Close ends the attempt.
func (b timedBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}
