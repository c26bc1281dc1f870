package ingest

import (
	"bytes"
	"io"
	"sync/atomic"
)

// What the service holds at most for those who ask, besides the queues of the
// committer and the announcer. None of it grows with how long things go on.
const (
	maxConnections = 8192     // of HTTP; see connections
	maxStreams     = 256      // NDJSON requests at a time
	bodyRoom       = 64 << 20 // bytes of bodies that are not yet stored
	answerRoom     = 64 << 20 // bytes of answers that are not yet read
	// smallEnough is what is held without asking: what a usual message, or an
	// answer about one, is.
	smallEnough = 16 << 10
)

// room is a number of things that may be held together. A nil one has no
// bound. It is safe for concurrent use.
type room struct{ left atomic.Int64 }

func newRoom(size int64) *room {
	r := new(room)
	r.left.Store(size)
	return r
}

// take takes so much, if that is left.
func (r *room) take(n int) bool {
	if r == nil || r.left.Add(-int64(n)) >= 0 {
		return true
	}
	r.left.Add(int64(n))
	return false
}

// give gives back what was taken.
func (r *room) give(n int) {
	if r != nil {
		r.left.Add(int64(n))
	}
}

// metered reads a body, and takes room for what goes beyond the small.
type metered struct {
	from  io.Reader
	room  *room
	read  int
	taken int
}

// Read implements io.Reader. It returns errOverloaded when there is no room.
func (m *metered) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.read += n
	if more := m.read - smallEnough - m.taken; more > 0 {
		if !m.room.take(more) {
			return 0, errOverloaded
		}
		m.taken += more
	}
	return n, err
}

// heldAnswer is an answer that has room until it is sent.
type heldAnswer struct {
	*bytes.Reader
	release func()
}

// Close implements io.Closer; fasthttp calls it once, whatever becomes of the
// connection.
func (h heldAnswer) Close() error {
	h.release()
	return nil
}
