package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// client talks to an ingest over HTTP.
type client struct {
	base string
	key  string
	http http.Client
}

func newClient(base, key string) *client {
	return &client{base: strings.TrimRight(base, "/"), key: key, http: http.Client{Timeout: 30 * time.Second}}
}

const defaultURL = "http://127.0.0.1:8080"

// clientFlags adds the flags of a command that talks to an ingest; the
// function makes the client once they are parsed.
func clientFlags(cmd *cobra.Command) func() *client {
	url := cmd.Flags().String("url", "", "where the API is (default: DISPATCH_URL, else "+defaultURL+"); DISPATCH_API_KEY is the key")
	return func() *client {
		settings := readSettings(cmd)
		return newClient(cmp.Or(*url, settings[service.EnvAPIURL], defaultURL), settings[service.EnvAPIKey])
	}
}

// readSettings reads the environment and .env. A .env that can't be used, which
// may be that of another program, is told on standard error and done without.
func readSettings(cmd *cobra.Command) service.Environment {
	settings, err := service.ReadEnvironment(os.Environ(), ".env")
	if err == nil {
		return settings
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "dispatch: %s; what it sets has no effect\n", err)
	settings, _ = service.ReadEnvironment(os.Environ(), os.DevNull)
	return settings
}

// problem is an RFC 9457 answer.
type problem struct {
	Title  string               `json:"title,omitempty"`
	Status int                  `json:"status,omitempty"`
	Detail string               `json:"detail,omitempty"`
	Code   string               `json:"code,omitempty"`
	Errors []message.FieldError `json:"errors,omitempty"`
}

func (p *problem) Error() string {
	text := p.Title
	switch {
	case len(p.Errors) == 1: // the detail would repeat what follows
		text = "1 mistake"
	case len(p.Errors) > 1:
		text = fmt.Sprintf("%d mistakes", len(p.Errors))
	case p.Detail != "":
		text = p.Detail
	case text == "":
		text = fmt.Sprintf("the API answered %d", p.Status)
	}
	if p.Code != "" {
		text += " (" + p.Code + ")"
	}
	for _, e := range p.Errors {
		text += fmt.Sprintf("\n  %s: %s", e.Field, e.Message)
	}
	if p.Status == http.StatusUnauthorized {
		text += "\n  " + service.EnvAPIKey + " holds the key that is sent"
	}
	return text
}

// request is what is asked of the API.
type request struct {
	method, path string
	body         any    // []byte is sent as it is, anything else as its JSON; nil for none
	key          string // the idempotency key; empty for none
}

// get asks for something without a body; otherwise it is call.
func (c *client) get(ctx context.Context, path string, answer any) error {
	return c.call(ctx, request{method: http.MethodGet, path: path}, answer)
}

// call sends a request and decodes the answer into answer. A refusal is a
// *problem; nobody who answers, or one who can't work now, is an exitError
// with exitUnreachable.
func (c *client) call(ctx context.Context, r request, answer any) error {
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
		return fmt.Errorf("read answer of %s: %w", c.base, err)
	}
	return nil
}

func (c *client) httpRequest(ctx context.Context, r request) (*http.Request, error) {
	var reader io.Reader
	switch b := r.body.(type) {
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
	request, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, reader)
	if err != nil || (request.URL.Scheme != "http" && request.URL.Scheme != "https") || request.URL.Host == "" {
		return nil, usage(fmt.Errorf("--url or %s must be a URL such as http://127.0.0.1:8080, is %q", service.EnvAPIURL, service.Redact(c.base)))
	}
	if !sendable(c.key) {
		return nil, usage(fmt.Errorf("%s must be a key as API_KEYS has it: without quotes around it, blanks and line breaks", service.EnvAPIKey))
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "dispatch/"+service.Version())
	if r.key != "" {
		request.Header.Set("Idempotency-Key", r.key)
	}
	if c.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.key)
	}
	return request, nil
}

// sendable says whether a key is one that a server can have.
func sendable(key string) bool {
	quoted := len(key) > 1 && key[0] == key[len(key)-1] && (key[0] == '"' || key[0] == '\'')
	return !quoted && !strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' })
}

// away is the error of a request that was not answered.
func (c *client) away(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", ctx.Err())
	}
	if inner := errors.Unwrap(err); inner != nil {
		err = inner // without the method and the path, which tell nothing here
	}
	return unreachable(fmt.Errorf("no answer from %s: %w\n  \"dispatch up\" starts everything; --url or %s says where it is", c.base, err, service.EnvAPIURL))
}

func refused(status int, data []byte) error {
	refusal := &problem{}
	_ = json.Unmarshal(data, refusal) // an answer from elsewhere is told by its status alone
	refusal.Status = status
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return unreachable(refusal)
	}
	return refusal
}
