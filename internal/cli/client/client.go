// Package client calls the HTTP API for the commands.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/redact"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Client calls the API of an ingest service. It is safe for concurrent use.
type Client struct {
	Base string
	key  string
	http http.Client
}

// New returns a client of the API at a base URL. The key may be empty.
func New(base, key string) *Client {
	return &Client{Base: strings.TrimRight(base, "/"), key: key, http: http.Client{Timeout: 30 * time.Second}}
}

// Problem is an error response of the API (RFC 9457).
type Problem struct {
	Title  string               `json:"title,omitempty"`
	Status int                  `json:"status,omitempty"`
	Detail string               `json:"detail,omitempty"`
	Code   string               `json:"code,omitempty"`
	Errors []message.FieldError `json:"errors,omitempty"`
}

func (p *Problem) Error() string {
	text := p.Title
	switch {
	case len(p.Errors) == 1: // the detail would repeat it
		text = "1 error"
	case len(p.Errors) > 1:
		text = fmt.Sprintf("%d errors", len(p.Errors))
	case p.Detail != "":
		text = p.Detail
	case text == "":
		text = fmt.Sprintf("the API returned status %d", p.Status)
	}
	if p.Code != "" {
		text += " (" + p.Code + ")"
	}
	for _, e := range p.Errors {
		text += fmt.Sprintf("\n  %s: %s", e.Field, e.Message)
	}
	if p.Status == http.StatusUnauthorized {
		text += "\n  " + settings.EnvAPIKey + " is the key that was sent"
	}
	return text
}

// Request is a request to the API.
type Request struct {
	Method, Path string
	Body         any    // []byte is sent as it is, anything else as JSON; nil for none
	Key          string // the idempotency key; empty for none
}

// Get calls the API with GET and without a body.
func (c *Client) Get(ctx context.Context, path string, answer any) error {
	return c.Call(ctx, Request{Method: http.MethodGet, Path: path}, answer)
}

// Call sends a request and decodes the response. An error response is a *Problem.
// If the API can't be reached or is unavailable, the error has
// exit.CodeUnreachable.
func (c *Client) Call(ctx context.Context, r Request, answer any) error {
	request, err := c.httpRequest(ctx, r)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.away(ctx, err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return c.away(ctx, err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return refused(response.StatusCode, data)
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("read response of %s: %w", c.Base, err)
	}
	return nil
}

func (c *Client) httpRequest(ctx context.Context, r Request) (*http.Request, error) {
	var reader io.Reader
	switch b := r.Body.(type) {
	case nil:
	case []byte:
		reader = bytes.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, c.Base+r.Path, reader)
	if err != nil || (request.URL.Scheme != "http" && request.URL.Scheme != "https") || request.URL.Host == "" {
		return nil, exit.Usage(fmt.Errorf("--url or %s must be a URL such as http://127.0.0.1:8080, is %q", settings.EnvAPIURL, redact.Text(c.Base)))
	}
	if !sendable(c.key) {
		return nil, exit.Usage(fmt.Errorf("%s must be a key as API_KEYS has it: without quotes around it, blanks and line breaks", settings.EnvAPIKey))
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "dispatch/"+service.Version())
	if r.Key != "" {
		request.Header.Set("Idempotency-Key", r.Key)
	}
	if c.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.key)
	}
	return request, nil
}

// sendable reports whether a key can be one of API_KEYS.
func sendable(key string) bool {
	quoted := len(key) > 1 && key[0] == key[len(key)-1] && (key[0] == '"' || key[0] == '\'')
	return !quoted && !strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' })
}

// away is the error of a request without a response.
func (c *Client) away(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", ctx.Err())
	}
	if inner := errors.Unwrap(err); inner != nil {
		err = inner // without the method and the path, which do not matter here
	}
	return exit.Unreachable(fmt.Errorf("no answer from %s: %w\n  \"dispatch up\" starts everything; --url or %s names its address", c.Base, err, settings.EnvAPIURL))
}

func refused(status int, data []byte) error {
	refusal := &Problem{}
	_ = json.Unmarshal(data, refusal) // a response of something else has a status alone
	refusal.Status = status
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return exit.Unreachable(refusal)
	}
	return refusal
}

// RefusesNumber reports whether the API says that the recipient is not a phone number.
func RefusesNumber(p *Problem) bool {
	for _, e := range p.Errors {
		if e.Code == message.CodeInvalidPhoneNumber {
			return true
		}
	}
	return false
}
