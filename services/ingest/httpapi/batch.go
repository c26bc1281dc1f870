package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/accept"
	"github.com/message-dispatcher/dispatch/services/ingest/metrics"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

// batchResult is the response to a batch.
type batchResult struct {
	Accepted int          `json:"accepted"`
	Rejected int          `json:"rejected"`
	Results  []itemResult `json:"results"`
}

// itemResult is the result of one message of a batch or a stream.
type itemResult struct {
	Index    int              `json:"index"`
	ID       *message.ID      `json:"id,omitempty"`
	Repeated bool             `json:"repeated,omitempty"` // stored before, under the same idempotency key
	Error    *message.Problem `json:"error,omitempty"`
}

func (a *API) createBatch(c *fiber.Ctx) error {
	if isNDJSON(c) {
		return a.createStream(c)
	}
	body, err := a.jsonBody(c, true, typesNDJSON...)
	if err != nil {
		return err
	}
	if err := noKeyHeader(c); err != nil {
		return err
	}
	items, err := splitItems(body)
	if err != nil {
		return err
	}
	drafts := make([]accept.Draft, len(items))
	trace := traceOf(c)
	for i, item := range items {
		drafts[i] = accept.Draft{Body: item, Scope: caller(c), Trace: trace}
	}
	results := a.acceptor.CreateMany(context.Background(), drafts)
	response := batchResult{Results: make([]itemResult, len(results))}
	var serverError error
	for i, r := range results {
		a.metrics.Message(metrics.SourceHTTP, r.Repeated, r.Err)
		response.Results[i] = itemResult{Index: i}
		if r.Err == nil {
			response.Accepted++
			response.Results[i].ID, response.Results[i].Repeated = &r.Message.ID, r.Repeated
			continue
		}
		response.Rejected++
		p := problemAt(fmt.Sprintf("item %d", i+1), r.Err)
		if p.Status >= http.StatusInternalServerError {
			serverError = r.Err
			a.logProblem(originOf(c), p, r.Err)
		}
		response.Results[i].Error = p
	}
	if response.Accepted == 0 && serverError != nil {
		return serverError // an outage fails the whole batch
	}
	return Respond(c, response)
}

// splitItems splits a JSON array.
func splitItems(body []byte) ([]json.RawMessage, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(body, &items); err != nil || items == nil {
		return nil, &message.MalformedError{Reason: "must be a JSON array of messages"}
	}
	if len(items) < 1 || len(items) > maxBatchItems {
		return nil, request.InvalidField("", message.CodeOutOfRange, fmt.Sprintf("a batch holds 1 to %d messages, this one %d", maxBatchItems, len(items)))
	}
	return items, nil
}
