package httpapi

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/accept"
	"github.com/message-dispatcher/dispatch/services/ingest/httpapi/listener"
)

// readBody reads a body of up to maxBody bytes, also when it is unpacked, into
// memory of its own. What is large takes room until the request is answered.
func (a *API) readBody(c *fiber.Ctx) ([]byte, error) {
	stream := c.Context().RequestBodyStream()
	if stream == nil {
		return slices.Clone(c.Context().Request.Body()), nil
	}
	if c.Context().Request.Header.ContentLength() > maxBody {
		return nil, errTooLarge()
	}
	from := stream
	if gzipped, _ := packed(c); gzipped {
		if !a.bodies.TryAcquire(gzipRoom) {
			return nil, accept.ErrOverloaded
		}
		defer a.bodies.Release(gzipRoom)
		from = &unpacker{from: io.LimitReader(stream, maxBody+1)}
	}
	meter := &metered{from: io.LimitReader(from, maxBody+1), room: a.bodies}
	body, err := io.ReadAll(meter)
	c.Locals(localBodyRoom, meter.taken)
	switch {
	case errors.Is(err, errNotGzip):
		return nil, err // the rest of it is discarded
	case errors.Is(err, accept.ErrOverloaded):
		c.Context().SetConnectionClose()
		listener.Linger(c.Context().Conn())
		c.Locals(localBodyRead, true) // the rest is not worth the wait
		return nil, accept.ErrOverloaded
	case err != nil:
		c.Context().SetConnectionClose()
		c.Locals(localBodyRead, true) // there is nothing left that could be read
		if broken := listener.BrokenFraming(c.Context().Conn()); broken != nil {
			listener.Linger(c.Context().Conn())
			return nil, &message.MalformedError{Subject: "the request", Reason: "is refused: " + broken.Reason}
		}
		return nil, &message.MalformedError{Reason: "ended early, or did not arrive in time"}
	case len(body) > maxBody:
		return nil, errTooLarge()
	}
	c.Locals(localBodyRead, true)
	return body, nil
}

// maxDiscarded is how much of a refused body is read, so that the client gets to
// see the refusal.
const maxDiscarded = 64 << 20

// discardWait is how long a refusal waits for a body that has no end, or a far
// one: long enough for one that is there already.
const discardWait = 500 * time.Millisecond

// discardBody reads what the handler left of a body: what follows on the
// connection is the next request. From a body without an end the connection
// is closed, once the client had time to see its answer.
func (a *API) discardBody(c *fiber.Ctx) {
	stream := c.Context().RequestBodyStream()
	if stream == nil || c.Locals(localBodyRead) != nil {
		return
	}
	conn := c.Context().Conn()
	if length := c.Context().Request.Header.ContentLength(); length < 0 || length > maxBody {
		a.conns.Extend(conn, discardWait)
		defer a.conns.Extend(conn, readTimeout)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(stream, maxDiscarded))
	if err != nil || n == maxDiscarded {
		listener.Linger(conn)
		c.Context().SetConnectionClose()
	}
}
