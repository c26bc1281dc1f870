package sender

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

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

var (
	errTimeout  = errors.New("the webhook's time is over")
	errReadLong = errors.New("the response's time is over")
)

// webhook is a destination: it makes one attempt at a time, or many at once.
type webhook struct {
	url       string
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
		url: u.String(), headers: headers, keys: keys, timeout: cfg.WebhookTimeout,
		transport: newTransport(cfg.Concurrency), clock: new(events.Skew),
	}, nil
}

// newTransport keeps a connection a request that may be in flight. It is used
// without an http.Client, so that nothing follows redirects, keeps cookies or
// puts the URL into errors.
func newTransport(concurrency int) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    concurrency,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxResponse,
		DisableCompression:     true, // answers are small, and a small answer can be a large one packed
	}
}

// close ends the idle connections.
func (w *webhook) close() {
	if t, ok := w.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// attempt sends a message once and tells what came of it. The webhook's
// timeout covers everything up to the response's header; the body has 2 s
// more. The end of ctx cuts it off.
func (w *webhook) attempt(ctx context.Context, m message.Message, number int) answer {
	began := time.Now()
	started := w.clock.At(began)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := time.AfterFunc(w.timeout, func() { cancel(errTimeout) })
	defer limit.Stop()

	request, err := w.request(ctx, m, number, started)
	if err != nil {
		return answer{started: started, verdict: refused, text: "the request can't be made: " + clean([]byte(err.Error()), maxErrorText)}
	}
	response, err := w.transport.RoundTrip(request)
	if exhausted(err) {
		return answer{started: started, unsent: err}
	}
	if err != nil {
		return answer{
			started: started, took: time.Since(began),
			verdict: retryable, text: w.describe(context.Cause(ctx), err),
		}
	}
	defer func() { _ = response.Body.Close() }()
	limit.Stop()
	crash.At(crash.SenderResponding)
	rest := time.AfterFunc(responseWait, func() { cancel(errReadLong) })
	defer rest.Stop()
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
	body, err := requestBody(m)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
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

// requestBody is the payload as it came, or to and content.
func requestBody(m message.Message) ([]byte, error) {
	if m.Payload != nil {
		return m.Payload, nil
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		To      string `json:"to"`
		Content string `json:"content"`
	}{m.To, m.Content})
	return bytes.TrimSuffix(body.Bytes(), []byte("\n")), err
}
