// Package framing refuses HTTP/1 requests that two servers could take apart in
// two ways: with two lengths, a length beside a transfer coding, a line that
// ends in a bare LF. A proxy and the server behind it must never disagree about
// where a request ends: what one takes for a body, the other would answer as a
// request.
//
// The servers used here are more lenient than RFC 9112 allows, or was wise. So
// the check does not depend on them: it reads along on the connection, in
// front of the server's own parser, and keeps no more than an unfinished line.
package framing

import (
	"bytes"
	"io"
	"net"
)

// Error is a request that was refused. It is the end of a sentence about the
// request, and holds nothing that came from the client.
type Error struct{ Reason string }

// Error says what is wrong.
func (e *Error) Error() string { return "the request is refused: " + e.Reason }

// Limits of a line. Servers have lower ones for a head, and answer them
// better.
const (
	maxHeadLine  = 64 << 10
	maxChunkLine = 4 << 10
)

// Reader passes on the requests of one connection until one of them breaks the
// rules. Of that one it passes on less than its whole head, or its whole body,
// and then returns an *Error, again for every later Read. A Reader is not safe
// for concurrent use.
type Reader struct {
	from   io.Reader
	next   part
	left   int64  // bytes of the body, or of the chunk
	line   []byte // the beginning of a line whose end has not come yet
	head   head
	broken *Error
}

// part is what comes next on a connection.
type part int

const (
	requestLine part = iota
	headerLine
	body
	chunkSize
	chunk
	chunkEnd
	trailerLine
)

// NewReader returns a Reader at the beginning of a connection.
func NewReader(from io.Reader) *Reader { return &Reader{from: from} }

// Err returns the *Error that ended the connection, nil if none did.
func (r *Reader) Err() *Error { return r.broken }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.broken != nil {
		return 0, r.broken
	}
	n, err := r.from.Read(p)
	good := r.scan(p[:n])
	if r.broken != nil && good == 0 {
		return 0, r.broken
	}
	if good < n { // the error is for the next Read
		return good, nil
	}
	return n, err
}

// scan follows the bytes that have come, and returns how many of them may be
// passed on.
func (r *Reader) scan(p []byte) int {
	for at := 0; at < len(p); {
		if r.next == body || r.next == chunk {
			skipped := min(r.left, int64(len(p)-at))
			at += int(skipped)
			if r.left -= skipped; r.left == 0 {
				r.next = after(r.next)
			}
			continue
		}
		end := bytes.IndexByte(p[at:], '\n')
		if end < 0 {
			if r.broken = r.keep(p[at:]); r.broken != nil {
				return at
			}
			break
		}
		line := p[at : at+end+1]
		if len(r.line) > 0 {
			r.line = append(r.line, line...)
			line = r.line
		}
		if r.broken = r.take(line); r.broken != nil {
			return at + end // without the LF neither a head nor a body can be complete
		}
		r.line = r.line[:0]
		at += end + 1
	}
	return len(p)
}

func after(p part) part {
	if p == chunk {
		return chunkEnd
	}
	return requestLine
}

// keep keeps the beginning of a line.
func (r *Reader) keep(start []byte) *Error {
	limit := maxHeadLine
	if r.next != requestLine && r.next != headerLine {
		limit = maxChunkLine
	}
	if len(r.line)+len(start) > limit {
		return &Error{"a line of it is too long"}
	}
	r.line = append(r.line, start...)
	return nil
}

// take judges one line, with its LF, and moves on.
func (r *Reader) take(line []byte) *Error {
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return &Error{"a line of it ends in LF without CR"}
	}
	text := line[:len(line)-2]
	if bytes.IndexByte(text, '\r') >= 0 {
		return &Error{"there is a CR within a line of it"}
	}
	switch r.next {
	case requestLine:
		if len(text) == 0 {
			return nil // some clients end a body with one CRLF too many
		}
		r.head, r.next = head{}, headerLine
		return r.head.request(text)
	case headerLine:
		if len(text) > 0 {
			return r.head.field(text)
		}
		return r.endHead()
	case chunkSize:
		return r.beginChunk(text)
	case chunkEnd:
		r.next = chunkSize
		if len(text) > 0 {
			return &Error{"a chunk of its body is not as long as it says"}
		}
	case trailerLine:
		if len(text) > 0 {
			return trailer(text)
		}
		r.endRequest()
	case body, chunk: // have no lines
	}
	return nil
}

// endHead finds out what follows a head.
func (r *Reader) endHead() *Error {
	if err := r.head.judge(); err != nil {
		return err
	}
	switch {
	case r.head.chunked:
		r.next = chunkSize
	case r.head.length > 0:
		r.next, r.left = body, r.head.length
	default:
		r.endRequest()
	}
	return nil
}

func (r *Reader) endRequest() {
	r.next = requestLine
	if cap(r.line) > maxChunkLine {
		r.line = nil // an idle connection holds no memory of a long line
	}
}

func (r *Reader) beginChunk(text []byte) *Error {
	size, digits := hex(text)
	switch {
	case digits == 0 || digits > maxHexDigits:
		return &Error{"the size of a chunk of its body is no hexadecimal number, or too large"}
	case digits < len(text) && text[digits] != ';':
		return &Error{"there is something behind the size of a chunk of its body"}
	case size == 0:
		r.next = trailerLine
	default:
		r.next, r.left = chunk, size
	}
	return nil
}

// Listen returns a listener whose connections are read through a Reader.
func Listen(inner net.Listener) net.Listener { return listener{inner} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: inner, reader: NewReader(inner)}, nil
}

type conn struct {
	net.Conn
	reader *Reader
}

func (c *conn) Read(p []byte) (int, error) { return c.reader.Read(p) }
