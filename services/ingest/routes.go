package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	headerIdempotencyKey = "Idempotency-Key"
	// headerReplayed marks an answer that repeats an earlier request's.
	headerReplayed = "Idempotent-Replayed"
	// listBytes is from where on a page of a list goes on in the next one.
	listBytes = 4 << 20
	// usualAnswer is the room that a message takes besides what came with it.
	usualAnswer = 512
)

// The handlers work under contexts of their own, not fasthttp's: that one
// ends at a shutdown, when what was begun is to be finished. The use cases
// bound their time.

func (a *api) createMessage(c *fiber.Ctx) error {
	body, err := a.jsonBody(c, true)
	if err != nil {
		return err
	}
	done, err := a.cases.Create(context.Background(), draft{body: body, scope: caller(c), key: keyOf(c), trace: traceOf(c)})
	a.counts.accepted("http", done.repeated, err)
	if err != nil {
		return err
	}
	c.Location("/api/v1/messages/" + done.message.ID.String())
	if done.repeated {
		c.Set(headerReplayed, "true")
		return answerRaw(c, http.StatusOK, done.message.AppendJSON(nil))
	}
	return answerRaw(c, http.StatusCreated, done.message.AppendJSON(make([]byte, 0, usualAnswer+len(body))))
}

func keyOf(c *fiber.Ctx) givenKey {
	return givenKey{header: headerIdempotencyKey, values: copied(c.Request().Header.PeekAll(headerIdempotencyKey))}
}

// traceOf reads the trace context that came with a request.
func traceOf(c *fiber.Ctx) message.Trace {
	header := &c.Request().Header
	parents := header.PeekAll(events.HeaderTraceparent)
	if len(parents) == 0 {
		return message.Trace{}
	}
	return message.ParseTrace(copied(parents), copied(header.PeekAll(events.HeaderTracestate)))
}

func copied(values [][]byte) []string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = string(value)
	}
	return texts
}

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
	results := a.cases.CreateMany(context.Background(), drafts)
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

func (a *api) listMessages(c *fiber.Ctx) error {
	q := parametersOf(c)
	found, err := a.cases.List(context.Background(), q, listBytes)
	if err != nil {
		return err
	}
	return a.answerPage(c, found)
}

func parametersOf(c *fiber.Ctx) query {
	q := query{}
	for name, value := range c.Context().QueryArgs().All() {
		q[string(name)] = append(q[string(name)], string(value))
	}
	return q
}

func (a *api) getMessage(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	m, err := a.cases.Get(context.Background(), id)
	if err != nil {
		return err
	}
	return a.answerHeld(c, m)
}

// pathID reads the id in the path of a request that takes no parameters.
func pathID(c *fiber.Ctx) (message.ID, error) {
	id, err := readID(c.Params("id"))
	if err != nil {
		return id, err
	}
	return id, noParameters(c)
}

// noParameters refuses parameters where there are none: one that is ignored
// would be taken for one that works.
func noParameters(c *fiber.Ctx) error {
	var errs []message.FieldError
	for name := range c.Context().QueryArgs().All() {
		errs = append(errs, message.FieldError{Field: string(name), Code: message.CodeUnknownParameter, Message: "is not a parameter of this request"})
	}
	if len(errs) > 0 {
		return badParameters(errs)
	}
	return nil
}

func (a *api) listAttempts(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	attempts, err := a.cases.Attempts(context.Background(), id)
	if err != nil {
		return err
	}
	return a.answerHeld(c, map[string]any{"data": attempts})
}

func (a *api) cancelMessage(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	if err := a.noBody(c); err != nil {
		return err
	}
	m, err := a.cases.Cancel(context.Background(), id)
	if err != nil {
		return err
	}
	return answer(c, m)
}

func (a *api) retryMessage(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	body, err := a.jsonBody(c, false)
	if err != nil {
		return err
	}
	expiresAt, err := readRetry(body, time.Now())
	if err != nil {
		return err
	}
	m, err := a.cases.Retry(context.Background(), id, expiresAt)
	if err != nil {
		return err
	}
	return answer(c, m)
}

func (a *api) controlVerb(verb string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := a.noBody(c); err != nil {
			return err
		}
		done, err := a.control.Do(context.Background(), verb, nil)
		if err != nil {
			return err
		}
		return answerRaw(c, http.StatusOK, done)
	}
}

func (a *api) configure(c *fiber.Ctx) error {
	body, err := a.jsonBody(c, true)
	if err != nil {
		return err
	}
	done, err := a.control.Configure(context.Background(), body)
	if err != nil {
		return err
	}
	return answerRaw(c, http.StatusOK, done)
}

func (a *api) status(c *fiber.Ctx) error {
	if err := noParameters(c); err != nil {
		return err
	}
	overview, err := a.control.Status(context.Background())
	if err != nil {
		return err
	}
	return answer(c, overview)
}

// jsonBody reads the JSON body of a request that takes no parameters; where
// none is needed it may be empty. types are what the route takes, if that is
// more than JSON.
func (a *api) jsonBody(c *fiber.Ctx, needed bool, types ...string) ([]byte, error) {
	if err := noParameters(c); err != nil {
		return nil, err
	}
	if err := a.demandType(c, needed, append(types[:len(types):len(types)], typeJSON)...); err != nil {
		return nil, err
	}
	body, err := a.readBody(c)
	if err != nil {
		return nil, err
	}
	if needed && len(bytes.TrimSpace(body)) == 0 {
		return nil, &message.MalformedError{Reason: "is empty"}
	}
	return body, nil
}

// noBody refuses a body where none means anything. An empty object is what
// many clients send instead of nothing.
func (a *api) noBody(c *fiber.Ctx) error {
	body, err := a.jsonBody(c, false)
	if err != nil {
		return err
	}
	body = bytes.TrimSpace(body)
	if len(body) > 0 && !bytes.Equal(body, []byte("{}")) {
		return &message.MalformedError{Subject: "this request", Reason: "takes no body"}
	}
	return nil
}
