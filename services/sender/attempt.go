package sender

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/message-dispatcher/dispatch/pkg/crash"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// How much of a response is read, and for how long after its header.
const (
	maxResponse  = 64 << 10
	responseWait = 2 * time.Second
)

// idleTimeout is how long a connection is kept that carries no request.
const idleTimeout = 30 * time.Second

var errTimeout = errors.New("the webhook's time is over")

// webhook is a destination: it makes one attempt at a time, or many at once.
type webhook struct {
	url       *url.URL
	headers   http.Header
	keys      [][]byte
	timeout   time.Duration
	transport http.RoundTripper
	clock     *events.Skew // receivers refuse a timestamp that is minutes off
}

// newWebhook returns the webhook of a configuration that is valid.
func newWebhook(cfg Config) (*webhook, error) {
	u, err := url.Parse(cfg.WebhookURL)
	if err != nil {
		return nil, errors.New("WEBHOOK_URL is no URL")
	}
	headers, err := parseHeaders(cfg.WebhookHeaders)
	if err != nil {
		return nil, fmt.Errorf("WEBHOOK_HEADERS %w", err)
	}
	keys, err := signingKeys(cfg.WebhookSecret)
	if err != nil {
		return nil, fmt.Errorf("WEBHOOK_SECRET %w", err)
	}
	if user := u.User; user != nil && headers.Get("Authorization") == "" {
		password, _ := user.Password()
		headers.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	u.User = nil
	return &webhook{
		url: u, headers: headers, keys: keys, timeout: cfg.WebhookTimeout,
		transport: newTransport(u, cfg, http.ProxyFromEnvironment), clock: new(events.Skew),
	}, nil
}

// newTransport returns the road to a URL. It keeps a connection a request that
// may be in flight, and is used without an http.Client, so that nothing follows
// redirects, keeps cookies or puts the URL into errors.
func newTransport(u *url.URL, cfg Config, proxies func(*http.Request) (*url.URL, error)) http.RoundTripper {
	rest := timed{newNetHTTP(cfg.Concurrency, proxies), cfg.WebhookTimeout}
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

func newNetHTTP(concurrency int, proxies func(*http.Request) (*url.URL, error)) *http.Transport {
	dialer := newDialer()
	return &http.Transport{
		Proxy:                  proxies,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    concurrency,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxResponse,
		DisableCompression:     true, // answers are small, and a small answer can be a large one packed
	}
}

// timed is net/http's road, with the times of an attempt: it returns
// errTimeout when there is no header in time, and breaks the body off after
// responseWait.
type timed struct {
	*http.Transport
	timeout time.Duration
}

// RoundTrip is http.Transport's.
func (t timed) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	limit := time.AfterFunc(t.timeout, func() { cancel(errTimeout) })
	response, err := t.Transport.RoundTrip(request.WithContext(ctx))
	if err != nil {
		if errors.Is(context.Cause(ctx), errTimeout) {
			err = errTimeout
		}
		limit.Stop()
		cancel(nil)
		return nil, err
	}
	limit.Reset(responseWait)
	if response.StatusCode == http.StatusSwitchingProtocols {
		_ = response.Body.Close() // it is the connection itself, which the end of a context does not reach
		response.Body = http.NoBody
	}
	response.Body = timedBody{response.Body, func() { limit.Stop(); cancel(nil) }}
	return response, nil
}

// timedBody ends the times of its attempt when it is closed.
type timedBody struct {
	io.ReadCloser
	end func()
}

func (b timedBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// close ends the idle connections.
func (w *webhook) close() {
	if t, ok := w.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// attempt sends a message once and tells what came of it. The webhook's
// timeout covers everything up to the response's header; the body has 2 s
// more. The end of ctx cuts it off.
func (w *webhook) attempt(ctx context.Context, m message.Message, number int) answer {
	began := time.Now()
	started := w.clock.At(began)
	request, err := w.request(ctx, m, number, started)
	if err != nil {
		return answer{started: started, verdict: refused, text: "the request can't be made: " + clean([]byte(err.Error()), maxErrorText)}
	}
	response, err := w.transport.RoundTrip(request)
	if exhausted(err) {
		return answer{started: started, unsent: err}
	}
	if err != nil {
		return answer{started: started, took: time.Since(began), verdict: retryable, text: w.describe(err)}
	}
	defer func() { _ = response.Body.Close() }()
	crash.At(crash.SenderResponding)
	// A body that is longer, or breaks off, costs its connection; what came of
	// it counts all the same.
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	return classify(response, body, started, started.Add(time.Since(began)))
}

// exhausted says whether an error is this machine's own: no descriptors, ports
// or memory for another connection. The webhook has no part in it.
func exhausted(err error) bool {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func (w *webhook) request(ctx context.Context, m message.Message, number int, at time.Time) (*http.Request, error) {
	body := requestBody(m)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.URL, request.Host = w.url, w.url.Host // parsed once
	header, id := request.Header, m.ID.String()
	header.Set("Content-Type", "application/json")
	header.Set("User-Agent", "message-dispatcher/"+service.Version())
	for name, values := range w.headers {
		header[name] = values
	}
	// In lower case: net/http takes a request with an Idempotency-Key for one
	// that it may repeat, and sends the POST again by itself when a kept
	// connection breaks before the answer.
	header["idempotency-key"] = []string{id}
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	header.Set("X-Dispatch-Attempt", strconv.Itoa(number))
	if len(w.keys) > 0 {
		header.Set("Webhook-Signature", signature(w.keys, id, at, body))
	}
	if m.Trace.Parent != "" {
		header.Set("Traceparent", m.Trace.Parent)
	}
	if m.Trace.State != "" {
		header.Set("Tracestate", m.Trace.State)
	}
	return request, nil
}

// requestBody is the payload as it came, or to and content. What is no UTF-8
// becomes U+FFFD.
func requestBody(m message.Message) []byte {
	if m.Payload != nil {
		return m.Payload
	}
	body := make([]byte, 0, 64+len(m.To)+len(m.Content))
	body, _ = jsontext.AppendQuote(append(body, `{"to":`...), m.To)
	body, _ = jsontext.AppendQuote(append(body, `,"content":`...), m.Content)
	return append(body, '}')
}
