package transport

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Transport makes delivery attempts. All methods are safe for concurrent use.
//
// The contract, which package transporttest checks:
//
//   - Send makes one attempt. At most one request leaves this machine, even if
//     the connection breaks before a response arrives. Only a request of which
//     nothing was sent, or which the receiver has declared unprocessed, may be
//     sent over another connection. The pipeline alone decides about retries.
//   - Every complete response header is a Response, whatever its status.
//     Redirects are not followed.
//   - Any other result is an *Error. Its NotSent and Local fields are true only
//     if that is certain.
//   - Send returns within Request.Timeout, plus two seconds for the body of the
//     response. It returns soon after ctx ends.
//   - The body of a response is cut at MaxBody. A body that breaks off, hangs or
//     has no end is no error: the part that arrived counts.
//   - Response and Error contain no part of the URL or the header of the
//     request, since these may be secrets.
type Transport interface {
	Send(ctx context.Context, r Request) (Response, error)
	// Close closes the connections that carry no request. Requests in flight go
	// on.
	Close()
}

const (
	// MaxBody is how many bytes of a response's body are read, before and after
	// unpacking.
	MaxBody = 64 << 10
	// BodyTimeout is how long the body of a response is read after its header
	// has arrived.
	BodyTimeout = 2 * time.Second
)

// Request is one attempt to deliver a message, complete with all that its
// destination asks for. Send may change Header, and nothing else.
type Request struct {
	URL     *url.URL // without user info, which belongs into Header
	Header  http.Header
	Body    []byte
	Timeout time.Duration // up to the response's header, with opening the connection
}

// Longest is how long Send may take.
func (r Request) Longest() time.Duration { return Longest(r.Timeout) }

// Longest is how long Send may take for a request with this timeout.
func Longest(timeout time.Duration) time.Duration { return timeout + BodyTimeout }

// Response is what the receiver said.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // at most MaxBody bytes, unpacked
}
