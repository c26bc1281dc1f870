package testenv

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Call is one request that reached a webhook, and what came of it.
type Call struct {
	ID      string // its Idempotency-Key
	Attempt string // its X-Dispatch-Attempt
	Number  int    // calls with this ID so far, from 1
	Path    string // of an Installation's services: their names
	At      time.Time
	Header  http.Header
	Body    []byte

	Done    time.Time // when the webhook had done with it; zero while it has not
	Status  int       // what it answered; 0: nothing
	Written bool      // the whole answer was handed to the connection
}

// Responder is what a webhook does with a call.
type Responder func(call Call, w http.ResponseWriter, r *http.Request)

// Webhook is the far end: it keeps a record of what arrives, and answers what
// it is told. It is safe for concurrent use.
type Webhook struct {
	*httptest.Server

	mu        sync.Mutex
	calls     []*Call
	count     map[string]int
	responder Responder
}

// NewWebhook starts one that accepts everything with a messageId.
func NewWebhook(t testing.TB) *Webhook {
	h := &Webhook{count: map[string]int{}, responder: Accept}
	h.Server = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
	})
	return h
}

// RespondWith sets what the webhook does from now on; nil is Accept.
func (h *Webhook) RespondWith(answer Responder) {
	if answer == nil {
		answer = Accept
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.responder = answer
}

// Received returns the calls so far, of one message or of all (""), in the
// order of their arrival.
func (h *Webhook) Received(id string) []Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]Call, 0, len(h.calls))
	for _, c := range h.calls {
		if id == "" || c.ID == id {
			list = append(list, *c)
		}
	}
	return slices.Clip(list)
}

func (h *Webhook) serve(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // only a part of it arrived: the sender can't take it for delivered
	}
	c := &Call{
		ID: r.Header.Get("Idempotency-Key"), Attempt: r.Header.Get("X-Dispatch-Attempt"),
		Path: strings.TrimPrefix(r.URL.Path, "/"), At: at, Header: r.Header.Clone(), Body: body,
	}
	h.mu.Lock()
	h.calls = append(h.calls, c)
	h.count[c.ID]++
	c.Number = h.count[c.ID]
	answer, copied := h.responder, *c
	h.mu.Unlock()

	seen := &responseRecorder{ResponseWriter: w}
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		c.Done, c.Status, c.Written = time.Now(), seen.status, seen.written
	}()
	answer(copied, seen, r)
	if seen.hijacked {
		return
	}
	if seen.status == 0 {
		seen.WriteHeader(http.StatusOK)
	}
	seen.written = seen.err == nil && r.Context().Err() == nil && http.NewResponseController(w).Flush() == nil
}

// responseRecorder notes what is answered.
type responseRecorder struct {
	http.ResponseWriter
	status   int
	err      error
	hijacked bool
	written  bool
}

func (s *responseRecorder) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *responseRecorder) Write(p []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	n, err := s.ResponseWriter.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}

// Hijack notes that the connection is somebody else's from here on.
func (s *responseRecorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s.hijacked = true
	return http.NewResponseController(s.ResponseWriter).Hijack()
}

// Unwrap lets http.ResponseController reach the connection.
func (s *responseRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Accept answers 202 with a messageId made from the id.
func Accept(call Call, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"message":"Accepted","messageId":"ext-`+call.ID+`"}`)
}

// Status answers with a status and nothing else.
func Status(status int) Responder {
	return func(_ Call, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// Slowly answers 200 after a delay, unless the client goes away before.
func Slowly(delay time.Duration) Responder {
	return func(_ Call, w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(delay):
			w.WriteHeader(http.StatusOK)
		case <-r.Context().Done():
			Break(Call{}, w, r)
		}
	}
}

// Hang answers nothing until the client goes away.
func Hang(call Call, w http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	Break(call, w, r)
}

// Break resets the connection instead of answering.
func Break(_ Call, w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
