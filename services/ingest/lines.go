package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Bounds of the lines that are read ahead of the one who stores them. They
// are also the most that is stored together.
const (
	maxAheadLines = 500
	maxAheadBytes = 1 << 20
	lineOverhead  = 64 // what a line weighs besides its bytes
	readSize      = 32 << 10
)

// line is one line of a stream that is not blank.
type line struct {
	number int // in the stream, from 1; blank lines count
	data   []byte
	long   bool // longer than a line may be, and therefore not kept
}

// errWaste is a stream of which too much is no message: it unpacks to blank
// lines, or to lines that are too long.
var errWaste = &message.MalformedError{Reason: "unpacks to too much that is no message"}

// lineReader splits a stream at line feeds.
type lineReader struct {
	from  *bufio.Reader
	limit int // of a line's bytes; of a longer one nothing is kept
	read  int // lines so far
	waste int // bytes that may yet come in lines that are not kept; negative for any number
}

// readLines hands each line of a stream over, until the stream ends or each
// wants no more. The error is the stream's, or errWaste; what had come of a
// line by then is dropped.
func readLines(r lineReader, each func(line) bool) error {
	for {
		l, err := r.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if (l.long || len(l.data) > 0) && !each(l) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
	}
}

// next reads to the next line feed, into memory of its own.
func (r *lineReader) next() (l line, err error) {
	r.read++
	l.number = r.read
	for {
		part, err := r.from.ReadSlice('\n')
		if len(l.data)+len(bytes.TrimRight(part, "\r\n")) > r.limit {
			l = line{number: r.read, long: true}
		}
		if !l.long {
			l.data = append(l.data, part...)
		} else if !r.drop(len(part)) {
			return line{}, errWaste
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		size := len(l.data)
		l.data = bytes.Trim(l.data, " \t\r\n")
		if len(l.data) == 0 && !r.drop(size) {
			return line{}, errWaste
		}
		return l, err
	}
}

// drop counts what is not kept. It is false once that is too much.
func (r *lineReader) drop(n int) bool {
	if r.waste < 0 {
		return true
	}
	r.waste = max(r.waste-n, 0)
	return r.waste > 0
}

// lineQueue passes lines from the one who reads to the one who stores, who
// takes all that have come meanwhile. It holds up the reader when it is full.
// It is safe for concurrent use by the two.
type lineQueue struct {
	mu      sync.Mutex
	changed *sync.Cond
	lines   []line
	bytes   int
	ended   bool // no more lines come
	err     error
	left    bool // nobody takes any more
	room    *semaphore.Weighted
	held    int64 // of the room, by lines in the queue and by those that are being stored
}

func newLineQueue(room *semaphore.Weighted) *lineQueue {
	q := &lineQueue{room: room}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// put adds a line once there is room: a first one always, so that every stream
// goes on, others when all streams together don't hold too much. It is false
// when nobody takes any more.
func (q *lineQueue) put(l line) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	size, has := int64(len(l.data)+lineOverhead), false
	for !q.left {
		ahead := len(q.lines) >= maxAheadLines || q.bytes >= maxAheadBytes
		if has = !ahead && q.room.TryAcquire(size); has || len(q.lines) == 0 {
			break
		}
		q.changed.Wait()
	}
	if has {
		q.held += size
	}
	if q.left {
		return false
	}
	q.lines, q.bytes = append(q.lines, l), q.bytes+len(l.data)+lineOverhead
	q.changed.Broadcast()
	return true
}

// end says that no more lines come, and why.
func (q *lineQueue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended, q.err = true, err
	q.changed.Broadcast()
}

// take waits for lines and takes all. None means that no more come, and err
// why.
func (q *lineQueue) take() (lines []line, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.lines) == 0 && !q.ended {
		q.changed.Wait()
	}
	lines, q.lines, q.bytes = q.lines, nil, 0
	q.changed.Broadcast()
	return lines, q.err
}

// stored gives back the room of lines that were taken, and are in memory no
// more.
func (q *lineQueue) stored() {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := min(int64(q.bytes), q.held)
	q.room.Release(q.held - waiting)
	q.held = waiting
}

// forget drops the lines that nobody took. It is for the end.
func (q *lineQueue) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.room.Release(q.held)
	q.lines, q.bytes, q.held = nil, 0, 0
}

// leave says that nobody takes any more.
func (q *lineQueue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.left = true
	q.changed.Broadcast()
}
