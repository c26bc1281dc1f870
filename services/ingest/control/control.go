// Package control sends requests about the pace to a dispatcher, and measures
// the state of the installation.
package control

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/rpc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	statusTimeout = 10 * time.Second
	// requestTimeout is how long a dispatcher may take. Before it responds to a
	// stop, it publishes what it has claimed.
	requestTimeout = 15 * time.Second
)

// Client sends control requests. It is safe for concurrent use.
type Client struct {
	js        *jetstream.Client
	store     *db.Store
	instances *rpc.Instances
}

// New returns a client. Status lists the instances.
func New(js *jetstream.Client, store *db.Store, instances *rpc.Instances) *Client {
	return &Client{js: js, store: store, instances: instances}
}

// Request sends a verb to a dispatcher and returns the JSON of its response. The
// error is a *message.Problem: the dispatcher's, or control_unavailable if none
// responds.
func (c *Client) Request(ctx context.Context, verb string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := rpc.Request(ctx, c.js.Conn(), c.js.ControlSubject(verb), body)
	var problem *message.Problem
	switch {
	case errors.As(err, &problem):
		if problem.Status == http.StatusServiceUnavailable {
			problem.RetryAfter = message.RetryLater // a response over NATS does not carry it
		}
		return nil, problem
	case rpc.Unanswered(err):
		return nil, unavailable("no dispatcher is running")
	case err != nil && ctx.Err() != nil:
		return nil, unavailable("no dispatcher answered in time; the request may take effect all the same")
	case err != nil:
		return nil, unavailable("NATS is not available")
	}
	return response, nil
}

func unavailable(detail string) *message.Problem {
	return message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemControlUnavailable, detail, message.RetryLater)
}

// Configure changes the pace. It validates the request first, so an invalid one
// gets its errors even if no dispatcher is running.
func (c *Client) Configure(ctx context.Context, body []byte) ([]byte, error) {
	if _, err := message.ParseConfiguration(body); err != nil {
		return nil, err
	}
	return c.Request(ctx, "configure", body)
}

// Status returns the state of the installation. It needs only Postgres.
func (c *Client) Status(ctx context.Context) (message.Overview, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	overview, err := c.store.Overview(ctx)
	if err != nil {
		return message.Overview{}, err
	}
	overview.Instances = c.instances.List()
	if overview.Instances == nil {
		overview.Instances = []message.Instance{}
	}
	return overview, nil
}
