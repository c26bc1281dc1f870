package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/message"
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

func (a *api) createBatch(c *fiber.Ctx) error {
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
	drafts := make([]draft, len(items))
	trace := traceOf(c)
	for i, item := range items {
		drafts[i] = draft{body: item, scope: caller(c), trace: trace}
	}
	results := a.acceptor.CreateMany(context.Background(), drafts)
	reply := batchAnswer{Results: make([]itemAnswer, len(results))}
	var lost error
	for i, r := range results {
		a.counts.accepted("http", r.repeated, r.err)
		reply.Results[i] = itemAnswer{Index: i}
		if r.err == nil {
			reply.Accepted++
			reply.Results[i].ID, reply.Results[i].Repeated = &r.message.ID, r.repeated
			continue
		}
		reply.Rejected++
		p := placed(fmt.Sprintf("item %d", i+1), r.err)
		if p.Status >= http.StatusInternalServerError {
			lost = r.err
			a.report(c, p, r.err)
		}
		reply.Results[i].Error = p
	}
	if reply.Accepted == 0 && lost != nil {
		return lost // an outage is one for the whole batch
	}
	return answer(c, reply)
}

// readItems takes a JSON array apart.
func readItems(body []byte) ([]json.RawMessage, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(body, &items); err != nil || items == nil {
		return nil, &message.MalformedError{Reason: "must be a JSON array of messages"}
	}
	if len(items) < 1 || len(items) > maxBatchItems {
		return nil, invalidField("", message.CodeOutOfRange, fmt.Sprintf("a batch holds 1 to %d messages, this one %d", maxBatchItems, len(items)))
	}
	return items, nil
}
