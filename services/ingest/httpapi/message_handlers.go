package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/services/ingest/accept"
	"github.com/message-dispatcher/dispatch/services/ingest/messages"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

const (
	headerIdempotencyKey = "Idempotency-Key"
	// headerReplayed marks an answer that repeats an earlier request's.
	headerReplayed = "Idempotent-Replayed"
	// listBytes is from where on a page of a list goes on in the next one.
	listBytes = 4 << 20
)

// The handlers work under contexts of their own, not fasthttp's: that one
// ends at a shutdown, when what was begun is to be finished. The use cases
// bound their time.

func (a *API) createMessage(c *fiber.Ctx) error {
	body, err := a.jsonBody(c, true)
	if err != nil {
		return err
	}
	done, err := a.acceptor.Create(context.Background(), accept.Draft{Body: body, Scope: caller(c), Key: keyOf(c), Trace: traceOf(c)})
	a.counts.Accepted("http", done.Repeated, err)
	if err != nil {
		return err
	}
	c.Location("/api/v1/messages/" + done.Message.ID.String())
	if done.Repeated {
		c.Set(headerReplayed, "true")
		return answerRaw(c, http.StatusOK, done.Message.AppendJSON(nil))
	}
	return answerRaw(c, http.StatusCreated, done.Message.AppendJSON(make([]byte, 0, messages.MessageOverhead+len(body))))
}

func (a *API) listMessages(c *fiber.Ctx) error {
	filter, err := request.ReadFilter(parametersOf(c), a.recipients)
	if err != nil {
		return err
	}
	found, err := a.messages.List(context.Background(), filter, listBytes)
	if err != nil {
		return err
	}
	return a.answerPage(c, found)
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
	return a.answerHeld(c, m)
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
	return a.answerHeld(c, map[string]any{"data": attempts})
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
	return Answer(c, m)
}

func (a *API) retryMessage(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	body, err := a.jsonBody(c, false)
	if err != nil {
		return err
	}
	expiresAt, err := request.ReadRedrive(body, time.Now())
	if err != nil {
		return err
	}
	m, err := a.messages.Retry(context.Background(), id, expiresAt)
	if err != nil {
		return err
	}
	return Answer(c, m)
}
