package sender

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
	"slices"
	"sync"
	"time"
)

// maxDirect is the largest body of a direct request. One of that size fits into
// the kernel's buffers whether the far end reads or not, so writing it does not
// keep anybody from reading an early answer.
const maxDirect = 16 << 10

var errHeaderLong = errors.New("the response's header is too long")

// direct is the road to a webhook without TLS that no proxy stands before:
// HTTP/1.1 to one host, over connections that are kept. The goroutine that
// makes an attempt writes the request and reads the answer itself. net/http's
// Transport has two goroutines a connection for that, and waking them costs
// about as much as the request does; it also sends some requests again by
// itself. A direct one is written once at most, whatever breaks.
//
// The formats are net/http's. What RFC 9112 leaves to a client is here: which
// response is the answer (section 9.2, and RFC 9110, 15.2) and when a
// connection can carry another request (9.3, 9.6).
type direct struct {
	address  string        // host and port
	timeout  time.Duration // of a request, up to the response's header
	dialer   net.Dialer
	keep     int           // how many connections may be idle
	patience time.Duration // how long each of them may be at most
	large    timed         // for requests of more than maxDirect

	mu      sync.Mutex
	idle    []*wire     // the longest idle one first
	sweeper *time.Timer // nil while nothing has to be swept
}

// newDirect returns the road to a URL's host, for as many requests at once as
// connections are kept.
func newDirect(u *url.URL, keep int, rest timed) *direct {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return &direct{
		address: net.JoinHostPort(u.Hostname(), port), timeout: rest.timeout, dialer: newDialer(),
		keep: keep, patience: idleTimeout, large: rest,
	}
}

// RoundTrip returns errTimeout when there is no header in time. The response's
// body breaks off after responseWait, and with the request's context.
func (d *direct) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.ContentLength > maxDirect {
		return d.large.RoundTrip(request)
	}
	ctx := request.Context()
	c, err := d.connect(ctx, time.Now().Add(d.timeout))
	if err != nil {
		return nil, unsentError{err}
	}
	stop := context.AfterFunc(ctx, c.close)
	response, err := c.exchange(request)
	if err != nil {
		stop()
		c.close()
		switch {
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = errTimeout
		}
		if !c.conn.hasWritten() {
			err = unsentError{err}
		}
		return nil, err
	}
	_ = c.conn.SetDeadline(time.Now().Add(responseWait)) // reading fails as well then
	response.Body = &directBody{Reader: response.Body, road: d, wire: c, stop: stop}
	return response, nil
}

// connect returns a connection that can carry a request until the deadline:
// the idle one that was used last, or a new one.
func (d *direct) connect(ctx context.Context, deadline time.Time) (*wire, error) {
	for c := d.take(); c != nil; c = d.take() {
		var ok bool
		if c.use, ok = c.conn.begin(); ok && c.conn.SetDeadline(deadline) == nil {
			return c, nil
		}
		c.close()
	}
	dial, cancel := context.WithDeadlineCause(ctx, deadline, errTimeout)
	defer cancel()
	conn, err := d.dialer.DialContext(dial, "tcp", d.address)
	if err != nil {
		return nil, cmp.Or(context.Cause(dial), err)
	}
	return newWire(conn, deadline)
}

func (d *direct) take() *wire {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := len(d.idle) - 1
	if last < 0 {
		return nil
	}
	c := d.idle[last]
	d.idle = slices.Delete(d.idle, last, last+1)
	return c
}

func (d *direct) put(c *wire) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) >= d.keep {
		c.close()
		return
	}
	c.since = time.Now()
	d.idle = append(d.idle, c)
	if d.sweeper == nil {
		d.sweeper = time.AfterFunc(d.patience, d.sweep)
	}
}

// sweep closes the connections that have been idle for too long, and comes
// again when the next one will have been.
func (d *direct) sweep() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.idle) > 0 {
		if left := d.patience - time.Since(d.idle[0].since); left > 0 {
			d.sweeper = time.AfterFunc(left, d.sweep)
			return
		}
		d.idle[0].close()
		d.idle = slices.Delete(d.idle, 0, 1)
	}
	d.sweeper = nil
}

// CloseIdleConnections closes the connections that carry no request.
func (d *direct) CloseIdleConnections() {
	for c := d.take(); c != nil; c = d.take() {
		c.close()
	}
	d.large.CloseIdleConnections()
}

// wire is a connection, which carries one request at a time.
type wire struct {
	conn  *checkedConn
	out   bytes.Buffer // a request, so that it is written at once
	in    *bufio.Reader
	room  int  // how many bytes may still be read
	again bool // once its body is read, the answer leaves the connection fit for another request
	use   int  // the number of the request
	idle  time.Duration
	since time.Time
}

// newWire takes over a connection of TCP that is about to carry a request.
func newWire(conn net.Conn, deadline time.Time) (*wire, error) {
	tcp := newTCPConn(conn)
	c := &wire{conn: newCheckedConn(tcp, tcp)}
	err := conn.SetDeadline(deadline)
	var ok bool
	if c.use, ok = c.conn.begin(); !ok && err == nil {
		err = errUnsolicited
	}
	if err != nil {
		c.close()
		return nil, err
	}
	c.in = bufio.NewReader(c)
	return c, nil
}

func (c *wire) close() { _ = c.conn.Close() } // nobody is left to be told

// Read reads from the connection as long as there is room.
func (c *wire) Read(p []byte) (int, error) {
	if c.room <= 0 {
		return 0, errHeaderLong
	}
	n, err := c.conn.Read(p[:min(len(p), c.room)])
	c.room -= n
	return n, err
}

// exchange writes a request and reads the header of its answer.
func (c *wire) exchange(request *http.Request) (*http.Response, error) {
	c.out.Reset()
	if err := request.Write(&c.out); err != nil {
		return nil, err
	}
	// What breaks now is no reason not to read: a far end may answer and close
	// before it has everything (RFC 9112, 9.5).
	_, unwritten := c.conn.Write(c.out.Bytes())
	c.room = maxResponse // for all headers together, interim ones too
	response, err := http.ReadResponse(c.in, request)
	for err == nil && interim(response.StatusCode) {
		_ = response.Body.Close() // it is empty
		response, err = http.ReadResponse(c.in, request)
	}
	if err != nil {
		return nil, cmp.Or(unwritten, err)
	}
	c.room = math.MaxInt
	c.again = unwritten == nil && !response.Close && response.StatusCode >= http.StatusOK && !breaksOff(response)
	c.idle = idleFor(response.Header)
	return response, nil
}

// interim says whether a response is followed by another to the same request.
// None follows 101, which answers what nobody asks for.
func interim(status int) bool {
	return status >= 100 && status <= 199 && status != http.StatusSwitchingProtocols
}

// directBody is the body of a response. How it ends decides about its
// connection.
type directBody struct {
	io.Reader
	road  *direct
	wire  *wire // nil once closed
	stop  func() bool
	ended bool
}

// Read notes the body's end.
func (b *directBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.ended = b.ended || errors.Is(err, io.EOF)
	return n, err
}

// Close keeps a connection whose answer was read to the end, and closes any
// other: what is left of the answer may be endless.
func (b *directBody) Close() error {
	c := b.wire
	if c == nil {
		return nil
	}
	b.wire = nil
	if b.stop() && b.ended && c.again && c.in.Buffered() == 0 && c.conn.reusable() {
		c.conn.keep(c.use, c.idle)
		b.road.put(c)
		return nil
	}
	return c.conn.Close()
}
