package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/services/sender/transport"
	"github.com/message-dispatcher/dispatch/services/sender/transport/webhook"
)

// clients are compared, in this order.
var clients = []string{"net/http", "fasthttp", "webhook"}

// timeout is that of a request.
const timeout = 30 * time.Second

type client interface {
	post(ctx context.Context, body []byte) (status int, err error)
}

func newClient(o options) (client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.certificate != "" {
		text, err := os.ReadFile(o.certificate)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(text)
	}
	to, err := url.Parse(o.receiver)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	switch o.client {
	case "net/http":
		return standard{to, &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: config, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: o.concurrency, DisableCompression: true,
		}}, nil
	case "fasthttp":
		return fast{to.String(), &fasthttp.HostClient{
			Addr: to.Host, IsTLS: to.Scheme == "https", TLSConfig: config, MaxConns: o.concurrency,
			Dial:                      func(address string) (net.Conn, error) { return dialer.Dial("tcp", address) },
			MaxIdemponentCallAttempts: 1,
			RetryIfErr:                func(*fasthttp.Request, int, error) (bool, bool) { return false, false },
			MaxResponseBodySize:       transport.MaxBody,
			NoDefaultUserAgentHeader:  true, DisableHeaderNamesNormalizing: true, DisablePathNormalizing: true,
		}}, nil
	case "webhook":
		own, err := webhook.NewClient(webhook.Options{
			MaxIdleConns: o.concurrency, Certificates: webhook.Certificates{CA: o.certificate}, Log: zap.NewNop(),
		})
		return ours{to, own}, err
	}
	return nil, fmt.Errorf("there is no client %q: %w", o.client, errors.ErrUnsupported)
}

// writeCertificate writes a certificate to a file, if there is one.
func writeCertificate(der []byte) (path string, err error) {
	if der == nil {
		return "", nil
	}
	file, err := os.CreateTemp("", "httpclients-*.pem")
	if err != nil {
		return "", err
	}
	return file.Name(), errors.Join(pem.Encode(file, &pem.Block{Type: "CERTIFICATE", Bytes: der}), file.Close())
}

// header is what a request of the sender carries, without a signature.
func header() http.Header {
	return http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"message-dispatcher/x"}, "Accept-Encoding": {"identity"},
		"Webhook-Id": {"01890a5d-ac96-774b-bcce-b302099a8057"}, "Webhook-Timestamp": {"1700000000"}, "X-Dispatch-Attempt": {"1"},
		"idempotency-key": {"01890a5d-ac96-774b-bcce-b302099a8057"},
	}
}

// standard is net/http's Transport, with the limits that an attempt needs.
type standard struct {
	to        *url.URL
	transport *http.Transport
}

func (s standard) post(ctx context.Context, body []byte) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.URL, request.Host, request.Header = s.to, s.to.Host, header()
	response, err := s.transport.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.ReadAll(io.LimitReader(response.Body, transport.MaxBody))
	return response.StatusCode, err
}

// fast is fasthttp's client of one host, without its retries.
type fast struct {
	to   string
	host *fasthttp.HostClient
}

func (f fast) post(_ context.Context, body []byte) (int, error) {
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	request.Header.DisableNormalizing()
	request.Header.SetMethod(http.MethodPost)
	request.SetRequestURI(f.to)
	for name, values := range header() {
		request.Header.Set(name, values[0])
	}
	request.SetBodyRaw(body)
	err := f.host.DoTimeout(request, response, timeout)
	return response.StatusCode(), err
}

// ours is the sender's client.
type ours struct {
	to     *url.URL
	client *webhook.Client
}

func (o ours) post(ctx context.Context, body []byte) (int, error) {
	response, err := o.client.Send(ctx, transport.Request{URL: o.to, Header: header(), Body: body, Timeout: timeout})
	return response.Status, err
}
