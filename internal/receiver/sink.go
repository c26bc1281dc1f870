// Package sink is a webhook receiver to try things with: it shows what
// arrives, and can be told to fail or to be slow.
package receiver

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Options say how a sink behaves. The zero value accepts everything.
type Options struct {
	Out       io.Writer     // where a line for each request goes; nil for nowhere
	JSON      bool          // the lines are JSON
	FailFirst int           // so many first requests of each message fail
	FailRate  float64       // this share of all requests fails, 0 to 1
	Status    int           // what a failing request is answered with; 0: 503
	Delay     time.Duration // before each answer
	// RetryAfter is sent with a failing answer when it is not 0.
	RetryAfter time.Duration
}

// maxRemembered bounds how many messages FailFirst keeps apart; the oldest
// half is forgotten when it is reached.
const maxRemembered = 100_000

// maxBody is how much of a request is read.
const maxBody = 1 << 20

// Sink receives webhooks. It is safe for concurrent use.
type Sink struct {
	options Options

	mu       sync.Mutex
	received int
	seen     map[string]int // requests of each message
	order    []string
}

// New returns a Sink.
func New(options Options) *Sink {
	if options.Status == 0 {
		options.Status = http.StatusServiceUnavailable
	}
	return &Sink{options: options, seen: map[string]int{}}
}

// ServeHTTP receives one request and answers 202 with a messageId, or as the
// options say.
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.options.Delay > 0 {
		select {
		case <-time.After(s.options.Delay):
		case <-r.Context().Done():
			return
		}
	}
	count, nth := s.count(r.Header.Get("Idempotency-Key"))
	status := http.StatusAccepted
	if nth <= s.options.FailFirst || rand.Float64() < s.options.FailRate {
		status = s.options.Status
	}
	s.show(count, status, r, body)
	answer(w, status, s.options.RetryAfter)
}

func answer(w http.ResponseWriter, status int, retryAfter time.Duration) {
	w.Header().Set("Content-Type", "application/json")
	if status >= 300 && retryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(retryAfter.Seconds())))
	}
	w.WriteHeader(status)
	if status < 300 {
		fmt.Fprintf(w, `{"message":"Accepted","messageId":"%s"}`, uuid.NewString())
		return
	}
	fmt.Fprintf(w, `{"message":%q}`, http.StatusText(status))
}

// count returns how many requests there were, and how many of this message.
func (s *Sink) count(id string) (count, nth int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received++
	if s.options.FailFirst == 0 {
		return s.received, 1
	}
	if s.seen[id] == 0 {
		s.order = append(s.order, id)
	}
	s.seen[id]++
	nth = s.seen[id]
	if len(s.order) >= maxRemembered {
		for _, old := range s.order[:maxRemembered/2] {
			delete(s.seen, old)
		}
		s.order = s.order[maxRemembered/2:]
	}
	return s.received, nth
}

// shown is a request as a line of JSON.
type shown struct {
	Time    time.Time `json:"time"`
	Number  int       `json:"number"`
	Status  int       `json:"status"` // what it was answered
	Attempt string    `json:"attempt"`
	ID      string    `json:"id"`
	Body    string    `json:"body"` // a text: whether it is JSON is up to the sender
}

func (s *Sink) show(count, status int, r *http.Request, body []byte) {
	if s.options.Out == nil {
		return
	}
	var message struct{ To, Content string }
	text := printable(string(body))
	if json.Unmarshal(body, &message) == nil && message.To != "" {
		text = fmt.Sprintf("%s  %s", printable(message.To), printable(message.Content))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.options.JSON {
		encoder := json.NewEncoder(s.options.Out)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(shown{
			time.Now().UTC(), count, status, r.Header.Get("X-Dispatch-Attempt"), r.Header.Get("Idempotency-Key"), string(body),
		}) // like the line for people: it is only shown
		return
	}
	fmt.Fprintf(s.options.Out, "%s  #%-4d → %d  attempt %s  %s  %s\n",
		time.Now().Format("15:04:05.000"), count, status, r.Header.Get("X-Dispatch-Attempt"), r.Header.Get("Idempotency-Key"), text)
}

// printable makes a text from outside harmless on a terminal, and short.
func printable(text string) string {
	const most = 160
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == utf8.RuneError {
			return '·'
		}
		return r
	}, text)
	if utf8.RuneCountInString(text) > most {
		return string([]rune(text)[:most]) + "…"
	}
	return text
}
