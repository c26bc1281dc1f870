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

// controlWait is how long a dispatcher may take: a stop publishes what was
// claimed before it answers.
const controlWait = 15 * time.Second

// statusWait bounds the question where everything stands.
const statusWait = 10 * time.Second

// Client passes requests about the pace on to a dispatcher, and answers
// questions about it by itself. It is safe for concurrent use.
type Client struct {
	js        *jetstream.Client
	store     *db.Store
	instances *rpc.Instances
}

// New returns a control. instances are shown with the status.
func New(js *jetstream.Client, store *db.Store, instances *rpc.Instances) *Client {
	return &Client{js: js, store: store, instances: instances}
}

// Do has a dispatcher carry out a verb and returns its answer, JSON. What a
// dispatcher refuses is the *message.Problem that it gave; without a dispatcher it is
// control_unavailable.
func (c *Client) Do(ctx context.Context, verb string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, controlWait)
	defer cancel()
	answer, err := rpc.Ask(ctx, c.js.Conn(), c.js.Control(verb), body)
	var problem *message.Problem
	switch {
	case errors.As(err, &problem):
		if problem.Status == http.StatusServiceUnavailable {
			problem.RetryAfter = message.RetryLater // it has no place in a response over NATS
		}
		return nil, problem
	case rpc.Unanswered(err):
		return nil, message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemControlUnavailable, "no dispatcher is running", message.RetryLater)
	case err != nil && ctx.Err() != nil:
		return nil, message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemControlUnavailable,
			"no dispatcher answered in time; the request may take effect all the same", message.RetryLater)
	case err != nil:
		return nil, message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemControlUnavailable, "NATS is not available", message.RetryLater)
	}
	return answer, nil
}

// Configure is Do for a change of the pace, which is checked before it is
// passed on: a mistake is told also when no dispatcher is there.
func (c *Client) Configure(ctx context.Context, body []byte) ([]byte, error) {
	if _, err := message.ParseConfiguration(body); err != nil {
		return nil, err
	}
	return c.Do(ctx, "configure", body)
}

// Status measures where everything stands. It needs Postgres alone.
func (c *Client) Status(ctx context.Context) (message.Overview, error) {
	ctx, cancel := context.WithTimeout(ctx, statusWait)
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
