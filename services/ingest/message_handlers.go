package ingest

import (
	"context"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"
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

func (a *api) createMessage(c *fiber.Ctx) error {
	body, err := a.jsonBody(c, true)
	if err != nil {
		return err
	}
	done, err := a.acceptor.Create(context.Background(), draft{body: body, scope: caller(c), key: keyOf(c), trace: traceOf(c)})
	a.counts.accepted("http", done.repeated, err)
	if err != nil {
		return err
	}
	c.Location("/api/v1/messages/" + done.message.ID.String())
	if done.repeated {
		c.Set(headerReplayed, "true")
		return answerRaw(c, http.StatusOK, done.message.AppendJSON(nil))
	}
	return answerRaw(c, http.StatusCreated, done.message.AppendJSON(make([]byte, 0, messageOverhead+len(body))))
}

func (a *api) listMessages(c *fiber.Ctx) error {
	filter, err := readFilter(parametersOf(c), a.recipients)
	if err != nil {
		return err
	}
	found, err := a.messages.List(context.Background(), filter, listBytes)
	if err != nil {
		return err
	}
	return a.answerPage(c, found)
}

func (a *api) getMessage(c *fiber.Ctx) error {
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

func (a *api) listAttempts(c *fiber.Ctx) error {
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

func (a *api) cancelMessage(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	if err := a.noBody(c); err != nil {
		return err
	}
	m, err := a.messages.Cancel(context.Background(), id)
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
	m, err := a.messages.Retry(context.Background(), id, expiresAt)
	if err != nil {
		return err
	}
	return answer(c, m)
}
