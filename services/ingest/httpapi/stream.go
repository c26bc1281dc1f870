package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest/accept"
	"github.com/message-dispatcher/dispatch/services/ingest/httpapi/listener"
	"github.com/message-dispatcher/dispatch/services/ingest/httpapi/ndjson"
	"github.com/message-dispatcher/dispatch/services/ingest/metrics"
)

const (
	// A stream that finds the queue full tries again every queueFullPause, for
	// queueFullTimeout. It may wait, because it does not read on meanwhile.
	queueFullPause   = 100 * time.Millisecond
	queueFullTimeout = 10 * time.Second

	// lineOverhead is the longest a line can be besides its payload and content:
	// all other fields, and some white space.
	lineOverhead = 64 << 10
	// maxEscape is the longest form of one character in JSON: a surrogate pair.
	maxEscape = len(`\ud83d\ude00`)
)

// createStream stores the messages of an NDJSON body while it arrives, and
// responds line by line. It returns at once: fasthttp reads the response from
// the stream and closes it.
func (a *API) createStream(c *fiber.Ctx) error {
	if err := NoParameters(c); err != nil {
		return err
	}
	if err := a.checkContentType(c, true, typesNDJSON...); err != nil {
		return err
	}
	if err := noKeyHeader(c); err != nil {
		return err
	}
	if !a.streams.TryAcquire(1) {
		return errBusy
	}
	body := c.Context().RequestBodyStream()
	if body == nil {
		body = bytes.NewReader(bytes.Clone(c.Context().Request.Body()))
	}
	gzipped, _ := contentEncoding(c)
	c.Locals(localBodyRead, true) // from here on the stream reads it
	s := &stream{
		api: a, scope: caller(c), origin: originOf(c), trace: traceOf(c),
		conn: c.Context().Conn(), body: body, gzipped: gzipped, contentLength: c.Context().Request.Header.ContentLength(),
		maxLine: a.rules.MaxPayloadBytes + maxEscape*a.rules.MaxContentLength + lineOverhead,
		queue:   ndjson.NewQueue(a.bodies),
	}
	// After a body that was not read to its end, the next request on the
	// connection could not be recognized. So the connection is closed.
	listener.Linger(s.conn)
	c.Context().SetConnectionClose()
	c.Set(fiber.HeaderContentType, typeNDJSON)
	a.metrics.InFlight.Inc()
	c.Context().SetBodyStream(s, -1)
	return nil
}

// stream is an NDJSON request. One goroutine reads lines ahead. The goroutine
// that calls Read and Close stores the lines and writes the results. So it does
// not read from a client that does not read the results, and its memory is
// bounded.
type stream struct {
	api           *API
	scope         string
	origin        origin
	trace         message.Trace
	conn          net.Conn
	body          io.Reader
	gzipped       bool
	contentLength int // negative if unknown
	received      int // bytes
	maxLine       int
	queue         *ndjson.Queue

	reading chan struct{} // closed once nothing reads the body; nil before the first Read
	mu      sync.Mutex
	closed  bool

	response bytes.Buffer
	index    int
	outage   *message.Problem // since an outage: the error of all further lines
	ended    bool
}

// Read returns the results of lines. If there are none, it stores the next lines
// first.
func (s *stream) Read(p []byte) (n int, err error) {
	defer func() {
		if caught := recover(); caught != nil {
			s.api.logPanic(s.origin.requestID, caught)
			err = errors.New("panic")
		}
	}()
	if s.reading == nil {
		s.reading = make(chan struct{})
		go s.readAhead()
	}
	for s.response.Len() == 0 {
		if s.ended {
			return 0, io.EOF
		}
		s.advance()
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // if the connection is broken, the write fails
	return s.response.Read(p)
}

// Close stops reading and waits until it has stopped: the body is in a buffer
// that fasthttp reuses for another connection.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.mu.Lock()
	s.closed = true
	if s.reading != nil && !s.ended {
		listener.Interrupt(s.conn)
	}
	s.mu.Unlock()
	s.queue.StopReading()
	if s.reading != nil {
		<-s.reading
	}
	s.queue.Clear()
	s.api.streams.Release(1)
	s.api.metrics.InFlight.Dec()
	return nil
}

// readAhead fills the queue until the body ends.
func (s *stream) readAhead() {
	defer close(s.reading)
	reader := ndjson.Reader{From: bufio.NewReaderSize(bodyReader{s}, ndjson.BufferSize), MaxLine: s.maxLine, MaxDropped: -1}
	if s.gzipped {
		reader.From, reader.MaxDropped = bufio.NewReaderSize(&gzipReader{from: bodyReader{s}}, ndjson.BufferSize), maxBody
	}
	s.queue.End(reader.ReadLines(s.queue.Put))
}

// bodyReader reads a stream's body. Each read has its own timeout, so a stream
// has no limit as a whole.
type bodyReader struct{ *stream }

func (r bodyReader) Read(p []byte) (int, error) {
	r.extendDeadline()
	n, err := r.body.Read(p)
	r.received += n
	if errors.Is(err, io.EOF) && r.received < r.contentLength {
		err = io.ErrUnexpectedEOF // fasthttp reports it as a normal end
	}
	return n, err
}

// extendDeadline sets the timeout of the next read. After Close there is none.
func (s *stream) extendDeadline() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		listener.Interrupt(s.conn)
		return
	}
	s.api.conns.ExtendDeadline(s.conn, readTimeout)
}

// advance stores the lines that have arrived, and writes their results.
func (s *stream) advance() {
	lines, err := s.queue.Take()
	if len(lines) > 0 {
		s.store(lines)
		s.queue.Stored()
		return
	}
	s.ended = true
	if err == nil {
		return
	}
	reason := "the body ended early, or did not go on in time"
	var malformed *message.MalformedError
	if framing := listener.FramingError(s.conn); framing != nil {
		reason = framing.Error()
	} else if errors.As(err, &malformed) {
		reason = malformed.Error()
	}
	p := message.NewProblem(http.StatusBadRequest, message.ProblemMalformed, reason+"; what came after the last line answered was not stored")
	if s.api.conns.IsDraining() {
		p = message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable, "the service is stopping; what came after the last line answered was not stored", message.RetrySoon)
	}
	p.RequestID = s.origin.requestID
	s.write(streamError{Error: p})
}

// streamError is the last line of the response to a stream that ended early.
type streamError struct {
	Error *message.Problem `json:"error"`
}

func (s *stream) write(line any) {
	s.response.Write(message.EncodeJSON(line))
	s.response.WriteByte('\n')
}

// store stores lines and writes the result of each.
func (s *stream) store(lines []ndjson.Line) {
	results := make([]accept.Result, len(lines))
	drafts := make([]accept.Draft, 0, len(lines))
	indexes := make([]int, 0, len(lines)) // of the drafts in lines
	for i, l := range lines {
		switch {
		case s.outage != nil:
			results[i].Err = s.outage
		case l.TooLong:
			results[i].Err = message.NewProblem(http.StatusRequestEntityTooLarge, message.ProblemTooLarge, fmt.Sprintf("line %d must not be more than %d bytes long", l.Number, s.maxLine))
		default:
			drafts, indexes = append(drafts, accept.Draft{Body: l.Data, Scope: s.scope, Trace: s.trace}), append(indexes, i)
		}
	}
	for n, r := range s.create(drafts) {
		results[indexes[n]] = r
	}
	failpoint.At(failpoint.IngestLinesStored)
	for i, r := range results {
		s.writeResult(lines[i].Number, r)
	}
}

// create stores drafts. It tries those again for a while that find the queue
// full.
func (s *stream) create(drafts []accept.Draft) []accept.Result {
	results := s.api.acceptor.CreateMany(context.Background(), drafts)
	ctx, cancel := context.WithTimeout(context.Background(), queueFullTimeout)
	defer cancel()
	for ctx.Err() == nil {
		var again []accept.Draft
		var indexes []int
		for i, r := range results {
			if errors.Is(r.Err, accept.ErrOverloaded) {
				again, indexes = append(again, drafts[i]), append(indexes, i)
			}
		}
		if len(again) == 0 {
			break
		}
		service.Sleep(ctx, queueFullPause)
		for n, r := range s.api.acceptor.CreateMany(context.Background(), again) {
			results[indexes[n]] = r
		}
	}
	return results
}

func (s *stream) writeResult(line int, r accept.Result) {
	s.api.metrics.Message(metrics.SourceHTTP, r.Repeated, r.Err)
	item := itemResult{Index: s.index}
	s.index++
	if r.Err == nil {
		item.ID, item.Repeated = &r.Message.ID, r.Repeated
		s.write(item)
		return
	}
	item.Error = problemAt(fmt.Sprintf("line %d", line), r.Err)
	s.api.logProblem(s.origin, item.Error, r.Err)
	if item.Error.Code == message.ProblemUnavailable && s.outage == nil {
		s.outage = message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable,
			"the database became unavailable during this request; the message was not stored", message.RetryLater)
	}
	s.write(item)
}
