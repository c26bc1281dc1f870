package httpapi

import (
	"bytes"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/accept"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

// pathID returns the id in the path of a request that takes no parameters.
func pathID(c *fiber.Ctx) (message.ID, error) {
	id, err := request.ParseID(c.Params("id"))
	if err != nil {
		return id, err
	}
	return id, NoParameters(c)
}

// NoParameters returns an error if a request has parameters. It is for requests
// that take none: a client must not believe that an ignored parameter works.
func NoParameters(c *fiber.Ctx) error { return request.NoParameters(queryOf(c)) }

func queryOf(c *fiber.Ctx) request.Query {
	q := request.Query{}
	for name, value := range c.Context().QueryArgs().All() {
		q[string(name)] = append(q[string(name)], string(value))
	}
	return q
}

func keyHeader(c *fiber.Ctx) accept.KeyHeader {
	return accept.KeyHeader{Name: headerIdempotencyKey, Values: texts(c.Request().Header.PeekAll(headerIdempotencyKey))}
}

// noKeyHeader returns an error if a batch has an idempotency key: each of its
// messages has its own.
func noKeyHeader(c *fiber.Ctx) error {
	if len(keyHeader(c).Values) > 0 {
		return request.InvalidField(headerIdempotencyKey, message.CodeNotSupported, "is not taken for a batch; give each message its own idempotencyKey")
	}
	return nil
}

// traceOf returns the trace context of a request.
func traceOf(c *fiber.Ctx) message.Trace {
	header := &c.Request().Header
	parents := header.PeekAll(events.HeaderTraceparent)
	if len(parents) == 0 {
		return message.Trace{}
	}
	return message.ParseTrace(texts(parents), texts(header.PeekAll(events.HeaderTracestate)))
}

func texts(values [][]byte) []string {
	all := make([]string, len(values))
	for i, value := range values {
		all[i] = string(value)
	}
	return all
}

// jsonBody returns the JSON body of a request that takes no parameters. It may
// be empty unless it is required. types are other types than JSON that the route
// takes.
func (a *API) jsonBody(c *fiber.Ctx, required bool, types ...string) ([]byte, error) {
	if err := NoParameters(c); err != nil {
		return nil, err
	}
	if err := a.checkContentType(c, required, append(types[:len(types):len(types)], typeJSON)...); err != nil {
		return nil, err
	}
	body, err := a.readBody(c)
	if err != nil {
		return nil, err
	}
	if required && len(bytes.TrimSpace(body)) == 0 {
		return nil, &message.MalformedError{Reason: "is empty"}
	}
	return body, nil
}

// NoBody returns an error if a request has a body other than {}, which many
// clients send instead of nothing. It is for requests that take none.
func (a *API) NoBody(c *fiber.Ctx) error {
	body, err := a.jsonBody(c, false)
	if err != nil {
		return err
	}
	body = bytes.TrimSpace(body)
	if len(body) > 0 && !bytes.Equal(body, []byte("{}")) {
		return errBodyNotAllowed
	}
	return nil
}
