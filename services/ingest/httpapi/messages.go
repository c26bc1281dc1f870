package httpapi

import (
	"context"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/services/ingest/accept"
	"github.com/message-dispatcher/dispatch/services/ingest/messages"
	"github.com/message-dispatcher/dispatch/services/ingest/metrics"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

const (
	headerIdempotencyKey = "Idempotency-Key"
	// headerReplayed marks the response to a repeated request.
	headerReplayed = "Idempotent-Replayed"
	// maxPageBytes is the size from which a list continues on the next page.
	maxPageBytes = 4 << 20
)

// Handlers do not use fasthttp's context: it ends when a shutdown begins, but
// requests that have begun are finished. The packages that they call bound the
// time.

func (a *API) createMessage(c *fiber.Ctx) error {
	body, err := a.jsonBody(c, true)
	if err != nil {
		return err
	}
	accepted, err := a.acceptor.Create(context.Background(), accept.Draft{Body: body, Scope: caller(c), Key: keyHeader(c), Trace: traceOf(c)})
	a.metrics.Message(metrics.SourceHTTP, accepted.Repeated, err)
	if err != nil {
		return err
	}
	c.Location("/api/v1/messages/" + accepted.Message.ID.String())
	if accepted.Repeated {
		c.Set(headerReplayed, "true")
		return respondJSON(c, http.StatusOK, accepted.Message.AppendJSON(nil))
	}
	return respondJSON(c, http.StatusCreated, accepted.Message.AppendJSON(make([]byte, 0, messages.JSONOverhead+len(body))))
}

func (a *API) listMessages(c *fiber.Ctx) error {
	filter, err := request.ParseFilter(queryOf(c), a.recipients)
	if err != nil {
		return err
	}
	page, err := a.messages.List(context.Background(), filter, maxPageBytes)
	if err != nil {
		return err
	}
	return a.respondPage(c, page)
}

func (a *API) getMessage(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	m, err := a.messages.Get(context.Background(), id)
	if err != nil {
		return err
	}
	return a.respondLarge(c, m)
}

func (a *API) listAttempts(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	attempts, err := a.messages.Attempts(context.Background(), id)
	if err != nil {
		return err
	}
	return a.respondLarge(c, map[string]any{"data": attempts})
}

func (a *API) cancelMessage(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	if err := a.NoBody(c); err != nil {
		return err
	}
	m, err := a.messages.Cancel(context.Background(), id)
	if err != nil {
		return err
	}
	return Respond(c, m)
}

func (a *API) redriveMessage(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	body, err := a.jsonBody(c, false)
	if err != nil {
		return err
	}
	expiresAt, err := request.ParseRedrive(body, a.now())
	if err != nil {
		return err
	}
	m, err := a.messages.Redrive(context.Background(), id, expiresAt)
	if err != nil {
		return err
	}
	return Respond(c, m)
}
