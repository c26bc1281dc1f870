// Package receiver is a webhook receiver for development. It shows what arrives,
// and can fail or be slow on demand.
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

// Options say how a receiver behaves. The zero value accepts everything.
type Options struct {
	Out       io.Writer     // gets a line for each request; nil for none
	JSON      bool          // whether the lines are JSON
	FailFirst int           // number of requests of each message that fail first
	FailRate  float64       // share of all requests that fail, 0 to 1
	Status    int           // status of the responses that fail; 0: 503
	Delay     time.Duration // before each response
	// RetryAfter is sent with the responses that fail, unless it is 0.
	RetryAfter time.Duration
}

// maxRemembered limits the messages that FailFirst remembers. At the limit, the
// oldest half is forgotten.
const maxRemembered = 100_000

// maxBody is the largest body that is accepted, in bytes.
const maxBody = 1 << 20

// Receiver receives webhooks. It is safe for concurrent use.
type Receiver struct {
	options Options

	mu       sync.Mutex
	received int
	seen     map[string]int // requests by message
	order    []string
}

// New returns a Receiver.
func New(options Options) *Receiver {
	if options.Status == 0 {
		options.Status = http.StatusServiceUnavailable
	}
	return &Receiver{options: options, seen: map[string]int{}}
}

// ServeHTTP receives one request. It responds 202 with a messageId, or as the
// options say.
func (v *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if v.options.Delay > 0 {
		select {
		case <-time.After(v.options.Delay):
		case <-r.Context().Done():
			return
		}
	}
	count, nth := v.count(r.Header.Get("Idempotency-Key"))
	status := http.StatusAccepted
	if nth <= v.options.FailFirst || rand.Float64() < v.options.FailRate {
		status = v.options.Status
	}
	v.show(count, status, r, body)
	respond(w, status, v.options.RetryAfter)
}

func respond(w http.ResponseWriter, status int, retryAfter time.Duration) {
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

// count counts a request, and returns the number of requests of all messages and of
// this one.
func (v *Receiver) count(id string) (count, nth int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.received++
	if v.options.FailFirst == 0 {
		return v.received, 1
	}
	if v.seen[id] == 0 {
		v.order = append(v.order, id)
	}
	v.seen[id]++
	nth = v.seen[id]
	if len(v.order) >= maxRemembered {
		for _, old := range v.order[:maxRemembered/2] {
			delete(v.seen, old)
		}
		v.order = v.order[maxRemembered/2:]
	}
	return v.received, nth
}

// shown is the line of JSON for a request.
type shown struct {
	Time    time.Time `json:"time"`
	Number  int       `json:"number"`
	Status  int       `json:"status"` // of the response
	Attempt string    `json:"attempt"`
	ID      string    `json:"id"`
	Body    string    `json:"body"` // as a string, since it need not be JSON
}

func (v *Receiver) show(count, status int, r *http.Request, body []byte) {
	if v.options.Out == nil {
		return
	}
	var message struct{ To, Content string }
	text := printable(string(body))
	if json.Unmarshal(body, &message) == nil && message.To != "" {
		text = fmt.Sprintf("%s  %s", printable(message.To), printable(message.Content))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.options.JSON {
		encoder := json.NewEncoder(v.options.Out)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(shown{
			time.Now().UTC(), count, status, r.Header.Get("X-Dispatch-Attempt"), r.Header.Get("Idempotency-Key"), string(body),
		}) // an error changes nothing: the line is only for display
		return
	}
	fmt.Fprintf(v.options.Out, "%s  #%-4d → %d  attempt %s  %s  %s\n",
		time.Now().Format("15:04:05.000"), count, status, r.Header.Get("X-Dispatch-Attempt"), r.Header.Get("Idempotency-Key"), text)
}

// printable makes a text from outside safe for a terminal, and short.
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
