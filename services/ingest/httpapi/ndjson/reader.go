// Package ndjson reads lines of JSON from a stream, ahead of their consumer.
package ndjson

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// BufferSize is the size of the buffer of Reader.From.
const BufferSize = 32 << 10

// errTooMuchDropped means that too much of a stream is no message: it is mostly
// blank lines, or lines that are too long.
var errTooMuchDropped = &message.MalformedError{Reason: "unpacks to too much that is no message"}

// Line is one line of a stream that is not blank.
type Line struct {
	Number  int // in the stream, from 1; blank lines count
	Data    []byte
	TooLong bool // Data is dropped
}

// Reader splits a stream at line feeds.
type Reader struct {
	From       *bufio.Reader
	MaxLine    int // bytes of a line; a longer one is dropped
	MaxDropped int // bytes of lines that may be dropped; negative: any number

	number int // of the last line
}

// ReadLines calls each for every line, until the stream ends or each returns
// false. It returns the error of the stream, and drops a line that has not ended
// by then; or an error if more than MaxDropped bytes were dropped.
func (r *Reader) ReadLines(each func(Line) bool) error {
	for {
		l, err := r.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if (l.TooLong || len(l.Data) > 0) && !each(l) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
	}
}

// next reads a line into a buffer of its own.
func (r *Reader) next() (l Line, err error) {
	r.number++
	l.Number = r.number
	for {
		part, err := r.From.ReadSlice('\n')
		if len(l.Data)+len(bytes.TrimRight(part, "\r\n")) > r.MaxLine {
			l = Line{Number: r.number, TooLong: true}
		}
		if !l.TooLong {
			l.Data = append(l.Data, part...)
		} else if !r.drop(len(part)) {
			return Line{}, errTooMuchDropped
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		size := len(l.Data)
		l.Data = bytes.Trim(l.Data, " \t\r\n")
		if len(l.Data) == 0 && !r.drop(size) {
			return Line{}, errTooMuchDropped
		}
		return l, err
	}
}

// drop counts dropped bytes. It returns false once they are too many.
func (r *Reader) drop(n int) bool {
	if r.MaxDropped < 0 {
		return true
	}
	r.MaxDropped = max(r.MaxDropped-n, 0)
	return r.MaxDropped > 0
}
