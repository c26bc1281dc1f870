package ndjson

import (
	"sync"

	"golang.org/x/sync/semaphore"
)

// Limits of a queue. They also limit how many lines Take returns.
const (
	maxLines     = 500
	maxBytes     = 1 << 20
	lineOverhead = 64 // bytes of a line besides its data
)

// Queue passes lines from a reader to a consumer, which takes all lines that
// have arrived. The reader waits while the queue is full. It is safe for
// concurrent use by the two.
type Queue struct {
	mu       sync.Mutex
	changed  *sync.Cond
	lines    []Line
	bytes    int
	ended    bool // no more lines will be put
	err      error
	stopped  bool // no more lines will be taken
	memory   *semaphore.Weighted
	acquired int64 // of memory: lines in the queue, and lines that are being stored
}

// NewQueue returns a queue whose lines count towards memory, in bytes.
func NewQueue(memory *semaphore.Weighted) *Queue {
	q := &Queue{memory: memory}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// Put adds a line. It waits while the queue is full or the memory is used up, but
// never with an empty queue, so every stream makes progress. It returns false
// once the consumer has stopped.
func (q *Queue) Put(l Line) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	size, acquired := int64(len(l.Data)+lineOverhead), false
	for !q.stopped {
		full := len(q.lines) >= maxLines || q.bytes >= maxBytes
		if acquired = !full && q.memory.TryAcquire(size); acquired || len(q.lines) == 0 {
			break
		}
		q.changed.Wait()
	}
	if acquired {
		q.acquired += size
	}
	if q.stopped {
		return false
	}
	q.lines, q.bytes = append(q.lines, l), q.bytes+len(l.Data)+lineOverhead
	q.changed.Broadcast()
	return true
}

// End says that no more lines will be put. err says why, if the stream is not
// complete.
func (q *Queue) End(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended, q.err = true, err
	q.changed.Broadcast()
}

// Take waits for lines and returns all of them. After the last, it returns none,
// and the error of End.
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

// Stored releases the memory of the lines that were taken.
func (q *Queue) Stored() {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := min(int64(q.bytes), q.acquired)
	q.memory.Release(q.acquired - waiting)
	q.acquired = waiting
}

// StopReading says that no more lines will be taken.
func (q *Queue) StopReading() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.changed.Broadcast()
}

// Clear drops all lines and releases their memory. Call it last.
func (q *Queue) Clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.memory.Release(q.acquired)
	q.lines, q.bytes, q.acquired = nil, 0, 0
}
