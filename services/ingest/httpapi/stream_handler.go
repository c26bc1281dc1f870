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
	"github.com/message-dispatcher/dispatch/services/ingest/accept"
	"github.com/message-dispatcher/dispatch/services/ingest/httpapi/listener"
	"github.com/message-dispatcher/dispatch/services/ingest/httpapi/ndjson"
)

// streamPause is how long a stream waits when it finds the queue full. It can
// wait, unlike others: whoever sends it is held up meanwhile.
const streamPause = 100 * time.Millisecond

// streamWait is for how long.
const streamWait = 10 * time.Second

// lineRoom is what a line may hold besides its payload and its content: the
// other fields at their longest, and some white space.
const lineRoom = 64 << 10

// bytesOfAnEscapedCharacter is how long one character of JSON may be: two
// halves of a surrogate pair.
const bytesOfAnEscapedCharacter = len(`\ud83d\ude00`)

// createStream stores the messages of an NDJSON body while it is read, and
// answers line by line. It returns at once: fasthttp reads the answer from
// the stream, and closes it.
func (a *API) createStream(c *fiber.Ctx) error {
	if err := NoParameters(c); err != nil {
		return err
	}
	if err := a.demandType(c, true, typesNDJSON...); err != nil {
		return err
	}
	if err := noKey(c); err != nil {
		return err
	}
	if !a.streams.TryAcquire(1) {
		return errBusy
	}
	body := c.Context().RequestBodyStream()
	if body == nil {
		body = bytes.NewReader(bytes.Clone(c.Context().Request.Body()))
	}
	gzipped, _ := packed(c)
	c.Locals(localBodyRead, true) // the stream's, from here on
	rules := a.rules
	s := &stream{
		api: a, scope: caller(c), requestID: requestID(c), route: routeOf(c), trace: traceOf(c),
		conn: c.Context().Conn(), body: body, packed: gzipped, expected: c.Context().Request.Header.ContentLength(),
		maxLine: rules.MaxPayloadBytes + bytesOfAnEscapedCharacter*rules.MaxContentLength + lineRoom,
		queue:   ndjson.NewQueue(a.bodies),
	}
	// A body that is not read to its end leaves nothing on the connection
	// that could be told from the next request.
	listener.Linger(s.conn)
	c.Context().SetConnectionClose()
	c.Set(fiber.HeaderContentType, typeNDJSON)
	a.counts.InFlight.Inc()
	c.Context().SetBodyStream(s, -1)
	return nil
}

// stream is an NDJSON request that is being answered. One goroutine reads
// lines ahead; the one that calls Read and Close stores what has come and
// writes the answers. So a client that does not read its answers is not read
// from either, and what a stream holds is bounded.
type stream struct {
	api              *API
	scope            string
	requestID, route string
	trace            message.Trace
	conn             net.Conn
	body             io.Reader
	packed           bool
	expected         int // bytes of the body; negative if that is not known
	received         int
	maxLine          int
	queue            *ndjson.Queue

	reading chan struct{} // closed once nobody reads the body; nil before the first Read
	mu      sync.Mutex
	closed  bool

	answers bytes.Buffer
	index   int
	lost    *message.Problem // since an outage: the fate of all that still comes
	ended   bool
}

// Read returns the answers to lines that have come, and stores lines when it
// has none.
func (s *stream) Read(p []byte) (n int, err error) {
	defer func() {
		if caught := recover(); caught != nil {
			s.api.panicked(s.requestID, caught)
			err = errors.New("panic")
		}
	}()
	if s.reading == nil {
		s.reading = make(chan struct{})
		go s.readAhead()
	}
	for s.answers.Len() == 0 {
		if s.ended {
			return 0, io.EOF
		}
		s.advance()
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // a broken connection shows at the write
	return s.answers.Read(p)
}

// Close ends the reading, and returns when it has ended: the body belongs to
// a buffer that another connection gets next.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.mu.Lock()
	s.closed = true
	if s.reading != nil && !s.ended {
		listener.Expire(s.conn)
	}
	s.mu.Unlock()
	s.queue.Leave()
	if s.reading != nil {
		<-s.reading
	}
	s.queue.Forget()
	s.api.streams.Release(1)
	s.api.counts.InFlight.Dec()
	return nil
}

// readAhead fills the queue until the body ends.
func (s *stream) readAhead() {
	defer close(s.reading)
	lines := ndjson.Reader{From: bufio.NewReaderSize(bodyReader{s}, ndjson.ReadSize), Limit: s.maxLine, Waste: -1}
	if s.packed {
		lines.From, lines.Waste = bufio.NewReaderSize(&unpacker{from: bodyReader{s}}, ndjson.ReadSize), maxBody
	}
	s.queue.End(ndjson.ReadAll(lines, s.queue.Put))
}

// bodyReader reads a stream's body. Every read has its time: a stream may
// last as long as it goes on.
type bodyReader struct{ *stream }

func (r bodyReader) Read(p []byte) (int, error) {
	r.await()
	n, err := r.body.Read(p)
	r.received += n
	if errors.Is(err, io.EOF) && r.received < r.expected {
		err = io.ErrUnexpectedEOF // which fasthttp does not tell from the end
	}
	return n, err
}

// await gives the next read its time, none after Close.
func (s *stream) await() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		listener.Expire(s.conn)
		return
	}
	s.api.conns.Extend(s.conn, readTimeout)
}

// advance stores the lines that have come, and answers them.
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
	if broken := listener.BrokenFraming(s.conn); broken != nil {
		reason = broken.Error()
	} else if errors.As(err, &malformed) {
		reason = malformed.Error()
	}
	p := message.NewProblem(http.StatusBadRequest, message.ProblemMalformed, reason+"; what came after the last line answered was not stored")
	if s.api.conns.IsDraining() {
		p = message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable, "the service is stopping; what came after the last line answered was not stored", message.RetrySoon)
	}
	p.RequestID = s.requestID
	s.write(streamEnd{Error: p})
}

// streamEnd is the last line of an answer to a stream that broke off.
type streamEnd struct {
	Error *message.Problem `json:"error"`
}

func (s *stream) write(answer any) {
	s.answers.Write(message.EncodeJSON(answer))
	s.answers.WriteByte('\n')
}

// store stores the good ones of some lines and answers each.
func (s *stream) store(lines []ndjson.Line) {
	results := make([]accept.Result, len(lines))
	drafts := make([]accept.Draft, 0, len(lines))
	places := make([]int, 0, len(lines)) // of the drafts in lines
	for i, l := range lines {
		switch {
		case s.lost != nil:
			results[i].Err = s.lost
		case l.Long:
			results[i].Err = message.NewProblem(http.StatusRequestEntityTooLarge, message.ProblemTooLarge, fmt.Sprintf("line %d must not be more than %d bytes long", l.Number, s.maxLine))
		default:
			drafts, places = append(drafts, accept.Draft{Body: l.Data, Scope: s.scope, Trace: s.trace}), append(places, i)
		}
	}
	for n, r := range s.create(drafts) {
		results[places[n]] = r
	}
	failpoint.At(failpoint.IngestLinesStored)
	for i, r := range results {
		s.answer(lines[i].Number, r)
	}
}

// create stores drafts. Those that find the queue full are tried again for a
// while.
func (s *stream) create(drafts []accept.Draft) []accept.Result {
	results := s.api.acceptor.CreateMany(context.Background(), drafts)
	ctx, cancel := context.WithTimeout(context.Background(), streamWait)
	defer cancel()
	for ctx.Err() == nil {
		var waiting []accept.Draft
		var places []int
		for i, r := range results {
			if errors.Is(r.Err, accept.ErrOverloaded) {
				waiting, places = append(waiting, drafts[i]), append(places, i)
			}
		}
		if len(waiting) == 0 {
			break
		}
		select {
		case <-time.After(streamPause):
		case <-ctx.Done():
		}
		for n, r := range s.api.acceptor.CreateMany(context.Background(), waiting) {
			results[places[n]] = r
		}
	}
	return results
}

// Answer writes the line about what became of the next message.
func (s *stream) answer(number int, r accept.Result) {
	s.api.counts.Accepted("http", r.Repeated, r.Err)
	item := itemAnswer{Index: s.index}
	s.index++
	if r.Err == nil {
		item.ID, item.Repeated = &r.Message.ID, r.Repeated
		s.write(item)
		return
	}
	item.Error = placed(fmt.Sprintf("line %d", number), r.Err)
	s.api.reportFrom(origin{s.requestID, http.MethodPost, s.route}, item.Error, r.Err)
	if item.Error.Code == message.ProblemUnavailable && s.lost == nil {
		s.lost = message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable,
			"the database became unavailable during this request; the message was not stored", message.RetryLater)
	}
	s.write(item)
}
