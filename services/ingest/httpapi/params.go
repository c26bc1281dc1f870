package httpapi

import (
	"bytes"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/accept"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

// pathID reads the id in the path of a request that takes no parameters.
func pathID(c *fiber.Ctx) (message.ID, error) {
	id, err := request.ReadID(c.Params("id"))
	if err != nil {
		return id, err
	}
	return id, NoParameters(c)
}

// NoParameters refuses parameters where there are none: one that is ignored
// would be taken for one that works.
func NoParameters(c *fiber.Ctx) error {
	var errs []message.FieldError
	for name := range c.Context().QueryArgs().All() {
		errs = append(errs, message.FieldError{Field: string(name), Code: message.CodeUnknownParameter, Message: "is not a parameter of this request"})
	}
	if len(errs) > 0 {
		return request.BadParameters(errs)
	}
	return nil
}

func parametersOf(c *fiber.Ctx) request.Query {
	q := request.Query{}
	for name, value := range c.Context().QueryArgs().All() {
		q[string(name)] = append(q[string(name)], string(value))
	}
	return q
}

func keyOf(c *fiber.Ctx) accept.KeyHeader {
	return accept.KeyHeader{Header: headerIdempotencyKey, Values: copied(c.Request().Header.PeekAll(headerIdempotencyKey))}
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

// jsonBody reads the JSON body of a request that takes no parameters; where
// none is needed it may be empty. types are what the route takes, if that is
// more than JSON.
func (a *API) jsonBody(c *fiber.Ctx, needed bool, types ...string) ([]byte, error) {
	if err := NoParameters(c); err != nil {
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

// NoBody refuses a body where none means anything. An empty object is what
// many clients send instead of nothing.
func (a *API) NoBody(c *fiber.Ctx) error {
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

// noKey refuses an idempotency key for a whole batch: each message has its
// own.
func noKey(c *fiber.Ctx) error {
	if len(keyOf(c).Values) > 0 {
		return request.InvalidField(headerIdempotencyKey, message.CodeNotSupported, "is not taken for a batch; give each message its own idempotencyKey")
	}
	return nil
}
