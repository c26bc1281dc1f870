package main

import (
	"bytes"
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

// clientFlags adds the flags of a command that talks to an ingest; the
// function makes the client once they are parsed.
func clientFlags(cmd *cobra.Command) func() *client {
	base := os.Getenv(service.EnvAPIURL)
	if base == "" {
		base = "http://127.0.0.1:8080"
	}
	url := cmd.Flags().String("url", base, "where the API is; DISPATCH_URL sets the default")
	return func() *client { return newClient(*url, os.Getenv(service.EnvAPIKey)) }
}

// problem is an RFC 9457 answer.
type problem struct {
	Title  string               `json:"title"`
	Status int                  `json:"status"`
	Detail string               `json:"detail"`
	Code   string               `json:"code"`
	Errors []message.FieldError `json:"errors"`
}

func (p *problem) Error() string {
	text := p.Title
	if p.Detail != "" {
		text = p.Detail
	}
	if text == "" {
		text = fmt.Sprintf("the API answered %d", p.Status)
	}
	if p.Code != "" {
		text += " (" + p.Code + ")"
	}
	for _, e := range p.Errors {
		text += fmt.Sprintf("\n  %s: %s", e.Field, e.Message)
	}
	return text
}

// call sends a request and decodes the answer; a refusal is a *problem, and
// nobody answering an exitError with exitUnreachable.
func (c *client) call(ctx context.Context, method, path string, body, answer any, headers ...string) error {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return usage(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "dispatch/"+service.Version())
	if c.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.key)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := c.http.Do(request)
	if err != nil {
		return &exitError{exitUnreachable, fmt.Errorf("no answer from %s: %w", c.base, errors.Unwrap(err))}
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return &exitError{exitUnreachable, fmt.Errorf("read answer of %s: %w", c.base, err)}
	}
	if response.StatusCode >= 300 {
		refusal := &problem{Status: response.StatusCode}
		_ = json.Unmarshal(data, refusal) // an answer from elsewhere is told by its status alone
		if response.StatusCode == http.StatusServiceUnavailable {
			return &exitError{exitUnreachable, refusal}
		}
		return refusal
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("read answer of %s: %w", c.base, err)
	}
	return nil
}
