package httpapi

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/sync/semaphore"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/accept"
	"github.com/message-dispatcher/dispatch/services/ingest/httpapi/listener"
)

const (
	// maxDiscarded is how much of the body of a rejected request is read, so that
	// the client gets the response.
	maxDiscarded = 64 << 20
	// discardTimeout is how long a rejection waits for a body that is endless or
	// very long. It suffices for one that has arrived already.
	discardTimeout = 500 * time.Millisecond
)

// readBody reads a body of up to maxBody bytes into a buffer of its own. The
// limit holds after decompression too. A large body is counted until the request
// has its response.
func (a *API) readBody(c *fiber.Ctx) ([]byte, error) {
	stream := c.Context().RequestBodyStream()
	if stream == nil {
		return slices.Clone(c.Context().Request.Body()), nil
	}
	if c.Context().Request.Header.ContentLength() > maxBody {
		return nil, errTooLarge
	}
	from := stream
	if gzipped, _ := contentEncoding(c); gzipped {
		if !a.bodies.TryAcquire(gzipBytes) {
			return nil, accept.ErrOverloaded
		}
		defer a.bodies.Release(gzipBytes)
		from = &gzipReader{from: io.LimitReader(stream, maxBody+1)}
	}
	counted := &countingReader{from: io.LimitReader(from, maxBody+1), limit: a.bodies}
	body, err := io.ReadAll(counted)
	c.Locals(localBodyBytes, counted.acquired)
	switch {
	case errors.Is(err, errNotGzip):
		return nil, err // the middleware discards the rest of the body
	case errors.Is(err, accept.ErrOverloaded):
		c.Context().SetConnectionClose()
		listener.Linger(c.Context().Conn())
		c.Locals(localBodyRead, true) // do not wait for the rest
		return nil, err
	case err != nil:
		c.Context().SetConnectionClose()
		c.Locals(localBodyRead, true) // nothing more can be read
		if framing := listener.FramingError(c.Context().Conn()); framing != nil {
			listener.Linger(c.Context().Conn())
			return nil, &message.MalformedError{Subject: "the request", Reason: "is refused: " + framing.Reason}
		}
		return nil, &message.MalformedError{Reason: "ended early, or did not arrive in time"}
	case len(body) > maxBody:
		return nil, errTooLarge
	}
	c.Locals(localBodyRead, true)
	return body, nil
}

// discardBody reads the rest of a body that the handler did not read: the next
// request follows it on the connection. If the body does not end soon, the
// connection is closed once the client could read the response.
func (a *API) discardBody(c *fiber.Ctx) {
	stream := c.Context().RequestBodyStream()
	if stream == nil || c.Locals(localBodyRead) != nil {
		return
	}
	conn := c.Context().Conn()
	if length := c.Context().Request.Header.ContentLength(); length < 0 || length > maxBody {
		a.conns.ExtendDeadline(conn, discardTimeout)
		defer a.conns.ExtendDeadline(conn, readTimeout)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(stream, maxDiscarded))
	if err != nil || n == maxDiscarded {
		listener.Linger(conn)
		c.Context().SetConnectionClose()
	}
}

// countingReader reads a body and acquires its bytes from a limit, except the
// first ones.
type countingReader struct {
	from     io.Reader
	limit    *semaphore.Weighted
	read     int
	acquired int64
}

// Read implements io.Reader. It returns accept.ErrOverloaded if the limit is
// reached.
func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.read += n
	if more := int64(r.read-uncounted) - r.acquired; more > 0 {
		if !r.limit.TryAcquire(more) {
			return 0, accept.ErrOverloaded
		}
		r.acquired += more
	}
	return n, err
}
