package ndjson

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
	ReadSize      = 32 << 10
)

// Line is one Line of a stream that is not blank.
type Line struct {
	Number int // in the stream, from 1; blank lines count
	Data   []byte
	Long   bool // longer than a line may be, and therefore not kept
}

// errWaste is a stream of which too much is no message: it unpacks to blank
// lines, or to lines that are too long.
var errWaste = &message.MalformedError{Reason: "unpacks to too much that is no message"}

// Reader splits a stream at line feeds.
type Reader struct {
	From  *bufio.Reader
	Limit int // of a line's bytes; of a longer one nothing is kept
	read  int // lines so far
	Waste int // bytes that may yet come in lines that are not kept; negative for any number
}

// ReadAll hands each line of a stream over, until the stream ends or each
// wants no more. The error is the stream's, or errWaste; what had come of a
// line by then is dropped.
func ReadAll(r Reader, each func(Line) bool) error {
	for {
		l, err := r.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if (l.Long || len(l.Data) > 0) && !each(l) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
	}
}

// next reads to the next line feed, into memory of its own.
func (r *Reader) next() (l Line, err error) {
	r.read++
	l.Number = r.read
	for {
		part, err := r.From.ReadSlice('\n')
		if len(l.Data)+len(bytes.TrimRight(part, "\r\n")) > r.Limit {
			l = Line{Number: r.read, Long: true}
		}
		if !l.Long {
			l.Data = append(l.Data, part...)
		} else if !r.drop(len(part)) {
			return Line{}, errWaste
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		size := len(l.Data)
		l.Data = bytes.Trim(l.Data, " \t\r\n")
		if len(l.Data) == 0 && !r.drop(size) {
			return Line{}, errWaste
		}
		return l, err
	}
}

// drop counts what is not kept. It is false once that is too much.
func (r *Reader) drop(n int) bool {
	if r.Waste < 0 {
		return true
	}
	r.Waste = max(r.Waste-n, 0)
	return r.Waste > 0
}

// Queue passes lines from the one who reads to the one who stores, who
// takes all that have come meanwhile. It holds up the reader when it is full.
// It is safe for concurrent use by the two.
type Queue struct {
	mu      sync.Mutex
	changed *sync.Cond
	lines   []Line
	bytes   int
	ended   bool // no more lines come
	err     error
	left    bool // nobody takes any more
	room    *semaphore.Weighted
	held    int64 // of the room, by lines in the queue and by those that are being stored
}

func NewQueue(room *semaphore.Weighted) *Queue {
	q := &Queue{room: room}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// Put adds a line once there is room: a first one always, so that every stream
// goes on, others when all streams together don't hold too much. It is false
// when nobody takes any more.
func (q *Queue) Put(l Line) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	size, has := int64(len(l.Data)+lineOverhead), false
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
	q.lines, q.bytes = append(q.lines, l), q.bytes+len(l.Data)+lineOverhead
	q.changed.Broadcast()
	return true
}

// End says that no more lines come, and why.
func (q *Queue) End(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended, q.err = true, err
	q.changed.Broadcast()
}

// Take waits for lines and takes all. None means that no more come, and err
// why.
func (q *Queue) Take() (lines []Line, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.lines) == 0 && !q.ended {
		q.changed.Wait()
	}
	lines, q.lines, q.bytes = q.lines, nil, 0
	q.changed.Broadcast()
	return lines, q.err
}

// Stored gives back the room of lines that were taken, and are in memory no
// more.
func (q *Queue) Stored() {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := min(int64(q.bytes), q.held)
	q.room.Release(q.held - waiting)
	q.held = waiting
}

// Forget drops the lines that nobody took. It is for the end.
func (q *Queue) Forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.room.Release(q.held)
	q.lines, q.bytes, q.held = nil, 0, 0
}

// Leave says that nobody takes any more.
func (q *Queue) Leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.left = true
	q.changed.Broadcast()
}
