package httpapi

import (
	"bytes"
	"io"

	"golang.org/x/sync/semaphore"

	"github.com/message-dispatcher/dispatch/services/ingest/accept"
)

// What the service holds at most for those who ask, besides the queues of the
// committer and the announcer. None of it grows with how long things go on.
const (
	maxStreams = 256      // NDJSON requests at a time
	bodyRoom   = 64 << 20 // bytes of bodies that are not yet stored
	answerRoom = 64 << 20 // bytes of answers that are not yet read
	// smallEnough is what is held without asking: what a usual message, or an
	// answer about one, is.
	smallEnough = 16 << 10
)

// metered reads a body, and takes room for what goes beyond the small.
type metered struct {
	from  io.Reader
	room  *semaphore.Weighted
	read  int
	taken int64
}

// Read implements io.Reader. It returns ErrOverloaded when there is no room.
func (m *metered) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.read += n
	if more := int64(m.read-smallEnough) - m.taken; more > 0 {
		if !m.room.TryAcquire(more) {
			return 0, accept.ErrOverloaded
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
