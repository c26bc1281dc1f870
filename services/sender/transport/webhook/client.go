package webhook

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// Options configure a Client.
type Options struct {
	// MaxIdleConns is how many connections to a host stay open between requests.
	// It should be the number of requests that may be in flight.
	MaxIdleConns int
	Certificates Certificates
	Log          *zap.Logger
}

// Client sends messages to webhooks. It is safe for concurrent use.
type Client struct {
	conns connOptions
	files *certificateFiles // nil if no files are configured

	mu      sync.Mutex
	current *paths
}

// NewClient reads the files of the certificates. It uses the proxies that the
// environment names. A mistake in the files is a service.SettingError.
func NewClient(o Options) (*Client, error) {
	return newClient(o, connOptions{
		maxIdleConns: o.MaxIdleConns, idleTimeout: idleTimeout, bodyTimeout: transport.BodyTimeout,
		proxy: http.ProxyFromEnvironment, dialer: newDialer(),
	})
}

func newClient(o Options, conns connOptions) (*Client, error) {
	c := &Client{conns: conns}
	if !o.Certificates.empty() {
		files, config, err := newCertificateFiles(o.Certificates, o.Log)
		if err != nil {
			return nil, err
		}
		c.files, c.conns.tls = files, config
	}
	c.current = newPaths(c.conns)
	return c, nil
}

// Send makes one attempt; see transport.Transport.
func (c *Client) Send(ctx context.Context, r transport.Request) (transport.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(r.Body))
	if err != nil {
		return transport.Response{}, &transport.Error{Text: transport.ErrorText(err), NotSent: true, Err: err}
	}
	request.URL, request.Host, request.Header = r.URL, r.URL.Host, r.Header
	hideFromNetHTTP(r.Header)
	response, err := c.paths().roundTrip(request, time.Now().Add(r.Timeout))
	if err != nil {
		return transport.Response{}, sendError(err, r.Timeout)
	}
	defer func() { _ = response.Body.Close() }()
	failpoint.At(failpoint.SenderResponding)
	return transport.Response{Status: response.StatusCode, Header: response.Header, Body: readBody(response)}, nil
}

// hideFromNetHTTP writes the names of idempotency keys in lower case. net/http
// takes a request with such a header for one that it may repeat, and sends a
// POST again by itself when an idle connection breaks before the response.
func hideFromNetHTTP(header http.Header) {
	for _, name := range []struct{ canonical, hidden string }{
		{"Idempotency-Key", "idempotency-key"}, {"X-Idempotency-Key", "x-idempotency-key"},
	} {
		if values, ok := header[name.canonical]; ok {
			delete(header, name.canonical)
			header[name.hidden] = values
		}
	}
}

// Close closes the idle connections.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current.closeIdle()
}

// paths returns the connections of the moment. If the certificates have
// changed, new connections use the new ones, and those with the old ones are
// closed as soon as they carry no request.
func (c *Client) paths() *paths {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil {
		return c.current
	}
	if config, changed := c.files.changed(time.Now()); changed {
		c.current.closeIdle()
		c.conns.tls = config
		c.current = newPaths(c.conns)
	}
	return c.current
}
