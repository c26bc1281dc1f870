package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// controlWait is how long a dispatcher may take: a stop publishes what was
// claimed before it answers.
const controlWait = 15 * time.Second

// control passes requests about the pace on to a dispatcher, and answers
// questions about it by itself. It is safe for concurrent use.
type control struct {
	js        jetstream.JetStream
	topology  events.Topology
	store     *db.Store
	instances *events.Instances
}

// Do has a dispatcher carry out a verb and returns its answer, JSON. What a
// dispatcher refuses is the *problem that it gave; without a dispatcher it is
// control_unavailable.
func (c *control) Do(ctx context.Context, verb string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, controlWait)
	defer cancel()
	answer, err := events.Ask(ctx, c.js.Conn(), c.topology.Control(verb), body)
	var refused *events.ServiceError
	switch {
	case errors.As(err, &refused):
		return nil, problemOfService(refused)
	case events.Unanswered(err):
		return nil, later(http.StatusServiceUnavailable, codeControlUnavailable, "no dispatcher is running", retryLater)
	case err != nil && ctx.Err() != nil:
		return nil, later(http.StatusServiceUnavailable, codeControlUnavailable,
			"no dispatcher answered in time; the request may take effect all the same", retryLater)
	case err != nil:
		return nil, later(http.StatusServiceUnavailable, codeControlUnavailable, "NATS is not available", retryLater)
	}
	return answer, nil
}

// Configure is Do for a change of the pace, which is checked before it is
// passed on: a mistake is told also when no dispatcher is there.
func (c *control) Configure(ctx context.Context, body []byte) ([]byte, error) {
	if _, err := message.ParseConfiguration(body); err != nil {
		return nil, err
	}
	return c.Do(ctx, "configure", body)
}

// Status measures where everything stands. It needs Postgres alone.
func (c *control) Status(ctx context.Context) (message.Overview, error) {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
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

// problemOfService is the problem that a micro service answered; its status
// is the error's code.
func problemOfService(refused *events.ServiceError) *problem {
	status, err := strconv.Atoi(refused.Code)
	if err != nil || status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	var p problem
	if json.Unmarshal(refused.Body, &p) != nil || p.Code == "" {
		p = *newProblem(status, codeInternal, refused.Description)
	}
	p.Status = status
	if status == http.StatusServiceUnavailable {
		p.retryAfter = retryLater
	}
	return &p
}
