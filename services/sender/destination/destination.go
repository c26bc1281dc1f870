// Package destination holds what a destination of messages says about itself:
// where it is, what its requests carry, and how its responses are read. It does
// no I/O.
package destination

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// Destination is a webhook that messages go to. It is safe for concurrent use.
type Destination struct {
	url        *url.URL
	headers    http.Header
	keys       [][]byte
	timeout    time.Duration
	rules      message.Classifier
	externalID message.ExternalID
	defaultID  bool // externalID is the default
}

// New returns the destination that settings describe. It returns the mistakes
// that Settings.Validate reports.
func New(s Settings) (*Destination, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	d := &Destination{timeout: s.Timeout}
	d.url, _ = url.Parse(s.URL)
	d.headers, _ = parseHeaders(s.Headers)
	d.keys, _ = signingKeys(s.Secret)
	d.rules, d.externalID, _ = s.responses()
	d.defaultID = d.externalID.String() == message.DefaultExternalID
	if user := d.url.User; user != nil && d.headers.Get("Authorization") == "" {
		password, _ := user.Password()
		d.headers.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	d.url.User = nil
	return d, nil
}

// Request returns the request that delivers a message: the nth attempt, signed
// for this time.
func (d *Destination) Request(m message.Message, number int, at time.Time) transport.Request {
	header, id, body := http.Header{}, m.ID.String(), requestBody(m)
	header.Set("Content-Type", "application/json")
	header.Set("User-Agent", "message-dispatcher/"+service.Version())
	header.Set("Accept-Encoding", "identity")
	for name, values := range d.headers {
		header[name] = values
	}
	header.Set("Idempotency-Key", id)
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	header.Set("X-Dispatch-Attempt", strconv.Itoa(number))
	if len(d.keys) > 0 {
		header.Set("Webhook-Signature", signature(d.keys, id, at, body))
	}
	if m.Trace.Parent != "" {
		header.Set("Traceparent", m.Trace.Parent)
	}
	if m.Trace.State != "" {
		header.Set("Tracestate", m.Trace.State)
	}
	return transport.Request{URL: d.url, Header: header, Body: body, Timeout: d.timeout}
}

// requestBody is the payload unchanged, or to and content. What is not UTF-8
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
