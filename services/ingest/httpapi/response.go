package httpapi

import (
	"bytes"
	"net/http"
	"regexp"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/messages"
)

const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
)

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._:/+=@-]{1,128}$`)

// requestID returns the request's id, and answers it: the one that came with
// it, if that can do no harm in a log, or a new one.
func requestID(c *fiber.Ctx) string {
	if id, ok := c.Locals(localRequestID).(string); ok {
		return id
	}
	id := c.Get(fiber.HeaderXRequestID)
	if !requestIDPattern.MatchString(id) {
		id = message.NewID(time.Now()).String()
	}
	c.Locals(localRequestID, id)
	c.Set(fiber.HeaderXRequestID, id)
	return id
}

// routeOf returns the pattern that a request matched, for labels: paths that
// match none are one.
func routeOf(c *fiber.Ctx) string {
	if path := c.Route().Path; path != "/" {
		return path
	}
	return "none"
}

func probe(c *fiber.Ctx, ask func() (int, []byte)) error {
	code, body := ask()
	return answerRaw(c, code, body)
}

// Answer answers 200 with JSON.
func Answer(c *fiber.Ctx, body any) error {
	return answerRaw(c, http.StatusOK, message.EncodeJSON(body))
}

// answerHeld is answer for what may be large: a client that does not read it
// holds it for as long as a write may take.
func (a *API) answerHeld(c *fiber.Ctx, body any) error {
	text := message.EncodeJSON(body)
	if len(text) <= smallEnough {
		return answerRaw(c, http.StatusOK, text)
	}
	if !a.answers.TryAcquire(int64(len(text))) {
		return errBusy
	}
	a.hold(c, text, len(text))
	return nil
}

// answerPage is answerHeld for a page, which has its room before it is
// written: that takes as much time and memory as all that is done for it.
func (a *API) answerPage(c *fiber.Ctx, found messages.Page) error {
	size := found.Size()
	if size <= smallEnough {
		return a.answerHeld(c, found)
	}
	if !a.answers.TryAcquire(int64(size)) {
		return errBusy
	}
	a.hold(c, found.AppendJSON(make([]byte, 0, size)), size)
	return nil
}

// hold answers with what has so much room, which it gives back.
func (a *API) hold(c *fiber.Ctx, text []byte, taken int) {
	c.Set(fiber.HeaderContentType, typeJSON)
	c.Context().SetBodyStream(heldAnswer{bytes.NewReader(text), func() { a.answers.Release(int64(taken)) }}, len(text))
}

func answerRaw(c *fiber.Ctx, status int, body []byte) error {
	c.Set(fiber.HeaderContentType, typeJSON)
	return c.Status(status).Send(body)
}
