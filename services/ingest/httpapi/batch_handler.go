package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/accept"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

// batchAnswer tells what became of each item of a batch.
type batchAnswer struct {
	Accepted int          `json:"accepted"`
	Rejected int          `json:"rejected"`
	Results  []itemAnswer `json:"results"`
}

type itemAnswer struct {
	Index    int              `json:"index"`
	ID       *message.ID      `json:"id,omitempty"`
	Repeated bool             `json:"repeated,omitempty"` // stored before, under the same key
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
	if err := noKey(c); err != nil {
		return err
	}
	items, err := readItems(body)
	if err != nil {
		return err
	}
	drafts := make([]accept.Draft, len(items))
	trace := traceOf(c)
	for i, item := range items {
		drafts[i] = accept.Draft{Body: item, Scope: caller(c), Trace: trace}
	}
	results := a.acceptor.CreateMany(context.Background(), drafts)
	reply := batchAnswer{Results: make([]itemAnswer, len(results))}
	var lost error
	for i, r := range results {
		a.counts.Accepted("http", r.Repeated, r.Err)
		reply.Results[i] = itemAnswer{Index: i}
		if r.Err == nil {
			reply.Accepted++
			reply.Results[i].ID, reply.Results[i].Repeated = &r.Message.ID, r.Repeated
			continue
		}
		reply.Rejected++
		p := placed(fmt.Sprintf("item %d", i+1), r.Err)
		if p.Status >= http.StatusInternalServerError {
			lost = r.Err
			a.report(c, p, r.Err)
		}
		reply.Results[i].Error = p
	}
	if reply.Accepted == 0 && lost != nil {
		return lost // an outage is one for the whole batch
	}
	return Answer(c, reply)
}

// readItems takes a JSON array apart.
func readItems(body []byte) ([]json.RawMessage, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(body, &items); err != nil || items == nil {
		return nil, &message.MalformedError{Reason: "must be a JSON array of messages"}
	}
	if len(items) < 1 || len(items) > maxBatchItems {
		return nil, request.InvalidField("", message.CodeOutOfRange, fmt.Sprintf("a batch holds 1 to %d messages, this one %d", maxBatchItems, len(items)))
	}
	return items, nil
}
