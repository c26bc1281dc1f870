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

// safeRequestID is what an id may look like that a client sends: it must be
// harmless in a log.
var safeRequestID = regexp.MustCompile(`^[A-Za-z0-9._:/+=@-]{1,128}$`)

// requestID returns the id of a request: the client's, or a new one. The response
// carries it too.
func requestID(c *fiber.Ctx) string {
	if id, ok := c.Locals(localRequestID).(string); ok {
		return id
	}
	id := c.Get(fiber.HeaderXRequestID)
	if !safeRequestID.MatchString(id) {
		id = message.NewID(time.Now()).String()
	}
	c.Locals(localRequestID, id)
	c.Set(fiber.HeaderXRequestID, id)
	return id
}

// routeOf returns the pattern of the route, as a label of metrics. All paths
// without a route share one label.
func routeOf(c *fiber.Ctx) string {
	if path := c.Route().Path; path != "/" {
		return path
	}
	return "none"
}

// Respond responds with 200 and JSON.
func Respond(c *fiber.Ctx, body any) error {
	return respondJSON(c, http.StatusOK, message.EncodeJSON(body))
}

func respondJSON(c *fiber.Ctx, status int, body []byte) error {
	c.Set(fiber.HeaderContentType, typeJSON)
	return c.Status(status).Send(body)
}

// respondLarge is Respond for a body that may be large. It counts the body until
// the client has read it.
func (a *API) respondLarge(c *fiber.Ctx, body any) error {
	text := message.EncodeJSON(body)
	if len(text) <= uncounted {
		return respondJSON(c, http.StatusOK, text)
	}
	if !a.responses.TryAcquire(int64(len(text))) {
		return errBusy
	}
	a.sendCounted(c, text, len(text))
	return nil
}

// respondPage is respondLarge for a page. It counts the page before encoding it,
// because that needs the time and the memory.
func (a *API) respondPage(c *fiber.Ctx, page messages.Page) error {
	size := page.Size()
	if size <= uncounted {
		return a.respondLarge(c, page)
	}
	if !a.responses.TryAcquire(int64(size)) {
		return errBusy
	}
	a.sendCounted(c, page.AppendJSON(make([]byte, 0, size)), size)
	return nil
}

// sendCounted sends a body for which acquired bytes are counted.
func (a *API) sendCounted(c *fiber.Ctx, text []byte, acquired int) {
	c.Set(fiber.HeaderContentType, typeJSON)
	release := func() { a.responses.Release(int64(acquired)) }
	c.Context().SetBodyStream(countedBody{bytes.NewReader(text), release}, len(text))
}

// countedBody releases its bytes once it is sent.
type countedBody struct {
	*bytes.Reader
	release func()
}

// Close implements io.Closer. fasthttp calls it exactly once, also if the
// connection breaks.
func (b countedBody) Close() error {
	b.release()
	return nil
}
