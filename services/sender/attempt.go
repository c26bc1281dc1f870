package sender

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// webhook is a destination: it makes one attempt at a time, or many at once.
type webhook struct {
	url        *url.URL
	headers    http.Header
	keys       [][]byte
	timeout    time.Duration
	transport  http.RoundTripper
	clock      *events.Skew // receivers refuse a timestamp that is minutes off
	rules      message.Classifier
	externalID message.ExternalID
	usualID    bool // it is where it is by default
}

// newWebhook returns the webhook of a configuration that is valid.
func newWebhook(cfg Config, log *zap.Logger) (*webhook, error) {
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
	rules, externalID, err := cfg.responses()
	if err != nil {
		return nil, err
	}
	w := &webhook{
		url: u, headers: headers, keys: keys, timeout: cfg.WebhookTimeout,
		rules: rules, externalID: externalID, usualID: externalID.String() == message.DefaultExternalID, clock: new(events.Skew),
	}
	if cfg.WebhookCert == "" && cfg.WebhookCA == "" {
		w.transport = newTransport(u, cfg, http.ProxyFromEnvironment, nil)
		return w, nil
	}
	w.transport, err = newReloading(cfg, log, func(config *tls.Config) http.RoundTripper {
		return newTransport(u, cfg, http.ProxyFromEnvironment, config)
	})
	return w, err
}

// longest is how long an attempt may take.
func (w *webhook) longest() time.Duration { return w.timeout + responseWait }

// close ends the idle connections.
func (w *webhook) close() {
	closeIdle(w.transport)
}

// attempt sends a message once and tells what came of it. The webhook's
// timeout covers everything up to the response's header; the body has 2 s
// more. The end of ctx cuts it off.
func (w *webhook) attempt(ctx context.Context, m message.Message, number int) answer {
	began := time.Now()
	started := w.clock.At(began)
	request, err := w.request(ctx, m, number, started)
	if err != nil {
		return answer{started: started, verdict: refused, unreached: true, text: "the request can't be made: " + clean([]byte(err.Error()), maxErrorText)}
	}
	response, err := w.transport.RoundTrip(request)
	if exhausted(err) {
		return answer{started: started, unsent: err}
	}
	if err != nil {
		return answer{started: started, took: time.Since(began), verdict: retryable, unreached: unreached(err), text: w.describe(err)}
	}
	defer func() { _ = response.Body.Close() }()
	failpoint.At(failpoint.SenderResponding)
	body := readBody(response)
	return w.classify(response, body, started, started.Add(time.Since(began)))
}

// unreached says whether nothing of a request reached the webhook. One that
// wants another certificate says so when the request is on its way already, and
// does not read it.
func unreached(err error) bool {
	var unsent unsentError
	return errors.As(err, &unsent) || wrongCertificate(err)
}

func wrongCertificate(err error) bool {
	var remote *net.OpError
	return errors.As(err, &remote) && remote.Op == "remote error" && strings.Contains(remote.Err.Error(), "certificate")
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
	header.Set("Accept-Encoding", "identity")
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
