package webhook

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// receiver is a receiver without an HTTP server. The test decides what it says
// on a connection.
type receiver struct {
	url         string
	connections atomic.Int32
	posts       atomic.Int32
}

// serving serves one connection; next returns the next request, or nil when the
// connection ends.
type serving func(conn net.Conn, next func() *http.Request)

// newReceiver serves each connection until serve returns, and then closes it.
func newReceiver(t testing.TB, serve func(conn *net.TCPConn, next func() *http.Request)) *receiver {
	t.Helper()
	return listen(t, nil, func(conn net.Conn, next func() *http.Request) { serve(conn.(*net.TCPConn), next) })
}

// listen uses TLS if there is a configuration for it.
func listen(t testing.TB, config *tls.Config, serve serving) *receiver {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	r := &receiver{url: "http://" + listener.Addr().String() + "/hook?key=1"}
	if config != nil {
		r.url = "https" + r.url[len("http"):]
		listener = tls.NewListener(listener, config)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.connections.Add(1)
			go r.serve(conn, serve)
		}
	}()
	return r
}

func (r *receiver) serve(conn net.Conn, serve serving) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	serve(conn, func() *http.Request {
		request, err := http.ReadRequest(in)
		if err != nil {
			return nil
		}
		r.posts.Add(1)
		return request
	})
}

// certificate is one for 127.0.0.1, for servers and for clients that trust it.
var certificate = sync.OnceValues(func() (server, client *tls.Config) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	server = &tls.Config{Certificates: s.TLS.Certificates, MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true}
	return server, s.Client().Transport.(*http.Transport).TLSClientConfig
})

// saying says the same to every request.
func saying(t testing.TB, text string) serving {
	t.Helper()
	return func(conn net.Conn, next func() *http.Request) {
		for r := next(); r != nil; r = next() {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(conn, text)
		}
	}
}

// sayingOnce says the text to the first request and closes the connection.
func sayingOnce(t testing.TB, text string) serving {
	t.Helper()
	return func(conn net.Conn, next func() *http.Request) {
		if r := next(); r != nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		_, _ = io.WriteString(conn, text)
	}
}

// target is a client and where it sends to.
type target struct {
	*receiver
	client *Client
	to     *url.URL

	timeout time.Duration
	header  http.Header
}

// sent is the result of an attempt.
type sent struct {
	status         int // 0 for an error
	header         http.Header
	body, text     string
	notSent, local bool
	took           time.Duration
}

func (s sent) delivered() bool { return s.status >= 200 && s.status <= 299 }

type setting func(*connOptions)

// newTarget returns a client without a proxy that sends to a URL.
func newTarget(t testing.TB, at string, settings ...setting) *target {
	t.Helper()
	to, err := url.Parse(at)
	require.NoError(t, err)
	conns := connOptions{
		maxIdleConns: 8, idleTimeout: idleTimeout, bodyTimeout: transport.BodyTimeout, proxy: http.ProxyURL(nil), dialer: newDialer(),
	}
	for _, set := range settings {
		set(&conns)
	}
	client, err := newClient(Options{}, conns)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return &target{client: client, to: to, timeout: 5 * time.Second, header: http.Header{"Idempotency-Key": {"1"}}}
}

// briefly cuts the bodies of responses off soon.
func briefly(o *connOptions) { o.bodyTimeout = 100 * time.Millisecond }

func trusting(o *connOptions) { _, o.tls = certificate() }

// handledBy returns a target whose server has the given handler.
func handledBy(t testing.TB, serve http.HandlerFunc) *target {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	return newTarget(t, server.URL)
}

func (c *target) send(ctx context.Context) sent { return c.sendBody(ctx, []byte(`{"to":"+90"}`)) }

func (c *target) sendBody(ctx context.Context, body []byte) sent {
	began := time.Now()
	response, err := c.client.Send(ctx, transport.Request{URL: c.to, Header: c.header.Clone(), Body: body, Timeout: c.timeout})
	s := sent{status: response.Status, header: response.Header, body: string(response.Body), took: time.Since(began)}
	var why *transport.Error
	if errors.As(err, &why) {
		s.text, s.notSent, s.local = why.Text, why.NotSent, why.Local
	}
	return s
}

// http1 is the client for the target's host.
func (c *target) http1() *http1Client { return c.client.current.http1(c.to) }

// useStandard has every request go through net/http.
func (c *target) useStandard() *target {
	c.client.current.hosts[host{c.to.Scheme, c.to.Host}] = nil
	return c
}

var eachPath = map[string]struct{ secure, standard bool }{
	"http1": {}, "net/http": {standard: true}, "http1 with TLS": {secure: true}, "net/http with TLS": {true, true},
}

// overEachPath runs a test of what every path to a receiver of HTTP/1.1
// promises.
func overEachPath(t *testing.T, test func(t *testing.T, receiving func(serving) *target)) {
	t.Helper()
	for name, path := range eachPath {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(serve serving) *target {
				var config *tls.Config
				if path.secure {
					config, _ = certificate()
				}
				r := listen(t, config, serve)
				c := newTarget(t, r.url, trusting)
				c.receiver = r
				if path.standard {
					c.useStandard()
				}
				return c
			})
		})
	}
}

// overEachServer is overEachPath for receivers that are an HTTP server.
func overEachServer(t *testing.T, test func(t *testing.T, handling func(http.HandlerFunc, ...setting) *target)) {
	t.Helper()
	for name, path := range eachPath {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(handle http.HandlerFunc, settings ...setting) *target {
				server := httptest.NewUnstartedServer(handle)
				if server.TLS, _ = certificate(); path.secure {
					server.TLS = server.TLS.Clone()
					server.StartTLS()
				} else {
					server.Start()
				}
				t.Cleanup(server.Close)
				c := newTarget(t, server.URL+"/hook?key=1", append(settings, trusting)...)
				if path.standard {
					c.useStandard()
				}
				return c
			})
		})
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"messageId\":1}"
