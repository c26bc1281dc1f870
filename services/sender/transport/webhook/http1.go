package webhook

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// http1Client sends requests to one host by HTTP/1.1, over connections that it
// keeps. It writes a request once at most, whatever breaks.
//
// net/http writes the request and parses the response. This package decides
// what RFC 9112 leaves to a client: which response is the final one (section
// 9.2, and RFC 9110, 15.2), and when a connection can carry another request
// (sections 9.3 and 9.6).
type http1Client struct {
	dialer  dialer
	address string      // host and port
	secure  bool        // by TLS
	http2   atomic.Bool // the host prefers HTTP/2
	idle    pool

	bodyTimeout time.Duration
}

func newHTTP1Client(u *url.URL, o connOptions) *http1Client {
	secure := u.Scheme == "https"
	port := "80"
	if secure {
		port = "443"
	}
	return &http1Client{
		dialer: dialer{o.dialer, o.tls}, secure: secure,
		address: net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)),
		idle:    pool{max: o.maxIdleConns, timeout: o.idleTimeout}, bodyTimeout: o.bodyTimeout,
	}
}

// roundTrip is paths.roundTrip for small requests. It returns errHTTP2, before
// anything is written, if the host turns out to prefer HTTP/2.
func (c *http1Client) roundTrip(request *http.Request, deadline time.Time) (*http.Response, error) {
	ctx := request.Context()
	conn, err := c.connect(ctx, deadline)
	if err != nil {
		return nil, notSentError{err}
	}
	stop := context.AfterFunc(ctx, conn.close)
	response, err := conn.exchange(request)
	if err != nil {
		stop()
		conn.close()
		switch {
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = errTimeout
		}
		if !conn.hasWritten() {
			err = notSentError{err}
		}
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(c.bodyTimeout)) // if it fails, reading does too
	response.Body = &http1Body{Reader: response.Body, pool: &c.idle, conn: conn, stop: stop}
	return response, nil
}

// connect returns a connection that can carry a request until the deadline:
// the idle one that was used last, or a new one.
func (c *http1Client) connect(ctx context.Context, deadline time.Time) (*http1Conn, error) {
	for conn := c.idle.take(); conn != nil; conn = c.idle.take() {
		if conn.prepare(deadline) == nil {
			return conn, nil
		}
		conn.close()
	}
	dial, cancel := context.WithDeadlineCause(ctx, deadline, errTimeout)
	defer cancel()
	checked, err := c.dial(dial)
	if errors.Is(err, errHTTP2) {
		c.http2.Store(true)
		return nil, err
	}
	if err != nil {
		return nil, cmp.Or(context.Cause(dial), err)
	}
	conn := newHTTP1Conn(checked)
	if err := conn.prepare(deadline); err != nil {
		conn.close()
		return nil, err
	}
	return conn, nil
}

func (c *http1Client) dial(ctx context.Context) (*checkedConn, error) {
	if !c.secure {
		return c.dialer.dialPlain(ctx, "tcp", c.address)
	}
	secured, checked, err := c.dialer.dialSecure(ctx, "tcp", c.address)
	if err == nil && checked == nil {
		_ = secured.Close() // net/http opens its own
		return nil, errHTTP2
	}
	return checked, err
}

func (c *http1Client) closeIdle() { c.idle.close() }

// http1Conn is a connection that carries one request at a time.
type http1Conn struct {
	*checkedConn
	out       bytes.Buffer // a request, so that one call writes it
	in        *bufio.Reader
	limit     int  // how many more bytes may be read
	reusable  bool // once its body is read, the response leaves the connection fit for another request
	use       int  // the number of the request
	idleFor   time.Duration
	idleSince time.Time
}

func newHTTP1Conn(checked *checkedConn) *http1Conn {
	c := &http1Conn{checkedConn: checked}
	c.in = bufio.NewReader(limitedConn{c})
	return c
}

// prepare makes the connection ready for the next request. It returns an error
// if the connection can't carry one.
func (c *http1Conn) prepare(deadline time.Time) error {
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	var ok bool
	if c.use, ok = c.begin(); !ok {
		return errUnsolicited
	}
	return nil
}

func (c *http1Conn) close() { _ = c.Close() } // nobody needs the error

// limitedConn reads from a connection up to its limit.
type limitedConn struct{ *http1Conn }

func (c limitedConn) Read(p []byte) (int, error) {
	if c.limit <= 0 {
		return 0, errHeaderTooLong
	}
	n, err := c.checkedConn.Read(p[:min(len(p), c.limit)])
	c.limit -= n
	return n, err
}

// exchange writes a request and reads the header of its final response.
func (c *http1Conn) exchange(request *http.Request) (*http.Response, error) {
	c.out.Reset()
	if err := request.Write(&c.out); err != nil {
		return nil, err
	}
	// A failed write is no reason not to read: a receiver may respond and close
	// before it has the whole request (RFC 9112, 9.5).
	_, writeErr := c.Write(c.out.Bytes())
	c.limit = transport.MaxBody // for all headers together, also those of interim responses
	response, err := http.ReadResponse(c.in, request)
	for err == nil && interim(response.StatusCode) {
		_ = response.Body.Close() // it is empty
		response, err = http.ReadResponse(c.in, request)
	}
	if err != nil {
		return nil, cmp.Or(writeErr, err)
	}
	c.limit = math.MaxInt
	c.reusable = writeErr == nil && !response.Close && response.StatusCode >= http.StatusOK && !announcesForbiddenBody(response)
	c.idleFor = idleTimeoutOf(response.Header)
	return response, nil
}

// interim reports whether a response is followed by another one to the same
// request. Nothing follows 101, which no request here asks for.
func interim(status int) bool {
	return status >= 100 && status <= 199 && status != http.StatusSwitchingProtocols
}

// http1Body is the body of a response. Whether it was read to its end decides
// about its connection.
type http1Body struct {
	io.Reader
	pool  *pool
	conn  *http1Conn // nil once closed
	stop  func() bool
	ended bool
}

// Read notes the body's end.
func (b *http1Body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.ended = b.ended || errors.Is(err, io.EOF)
	return n, err
}

// Close keeps the connection if the response was read to the end, and closes
// it otherwise: the rest of the response may be endless.
func (b *http1Body) Close() error {
	conn := b.conn
	if conn == nil {
		return nil
	}
	b.conn = nil
	if b.stop() && b.ended && conn.reusable && conn.in.Buffered() == 0 && conn.intact() {
		conn.keep(conn.use, conn.idleFor)
		b.pool.put(conn)
		return nil
	}
	return conn.Close()
}
