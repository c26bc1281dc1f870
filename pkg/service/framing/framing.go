// Package framing rejects HTTP/1 requests with ambiguous framing: two lengths, a
// length together with a transfer coding, a line that ends in a bare LF. A proxy and
// the server behind it must agree on where each request ends. Otherwise one of them
// reads as a body what the other answers as a request (request smuggling).
//
// The servers used here are more lenient than RFC 9112 allows or than is safe. The
// check therefore does not depend on them. It reads the connection in front of the
// server's own parser, and buffers no more than one unfinished line.
package framing

import (
	"bytes"
	"io"
	"net"
)

// Error means that a request was rejected. Reason is the end of a sentence about the
// request and contains nothing that the client has sent.
type Error struct{ Reason string }

// Error returns the reason.
func (e *Error) Error() string { return "the request is refused: " + e.Reason }

// Limits of a line in bytes. Servers have lower limits for a head and better
// responses for longer ones.
const (
	maxHeadLine  = 64 << 10
	maxChunkLine = 4 << 10
)

// Reader passes on the requests of one connection until one of them breaks the rules.
// It passes on less than the whole head or body of that request. Then every Read
// returns the same *Error. A Reader is not safe for concurrent use.
type Reader struct {
	from   io.Reader
	next   part
	left   int64  // remaining bytes of the body or chunk
	line   []byte // beginning of an unfinished line
	head   head
	broken *Error
}

// part is the kind of the next bytes on a connection.
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

// NewReader returns a Reader for a new connection.
func NewReader(from io.Reader) *Reader { return &Reader{from: from} }

// Err returns the *Error that ended the connection, nil if there is none.
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

// scan checks the bytes and returns how many of them may be passed on.
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

// keep buffers the beginning of a line.
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

// take checks one line, with its LF, and sets what comes next.
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
			return nil // some clients send an extra CRLF after a body
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
	case body, chunk: // contain no lines
	}
	return nil
}

// endHead checks the whole head and sets what follows it.
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
		r.line = nil // an idle connection must not hold the memory of a long line
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
