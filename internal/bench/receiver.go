package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// receiver is the webhook: it notes when each message first arrived. Like the
// load it is made to cost as little as it can, since it shares the machine
// with what is measured.
type receiver struct {
	url    string
	server *fasthttp.Server
	delay  time.Duration // before each answer
	// failFirst has the first request of every message answered with 503.
	failFirst bool

	mu       sync.Mutex
	expected portion
	arrivals []arrival // by number, from expected.first on
	accepted int       // messages
	surplus  int       // requests beyond those that were needed
}

// arrival is what is known of a message.
type arrival struct {
	first, accepted time.Time
	id              string // of those that fail first
}

func startReceiver(ctx context.Context, options Options) (*receiver, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start receiver: %w", err)
	}
	r := &receiver{url: "http://" + listener.Addr().String(), delay: options.Delay, failFirst: options.FailFirst}
	r.server = &fasthttp.Server{Handler: r.serve, Name: "receiver", CloseOnShutdown: true, Logger: nothing{}}
	go func() { _ = r.server.Serve(listener) }() // ends with close
	return r, nil
}

// nothing logs nothing: a connection that is reset at the end is no news.
type nothing struct{}

func (nothing) Printf(string, ...any) {}

func (r *receiver) close() error { return r.server.Shutdown() }

// expect forgets everything and counts these messages from here on.
func (r *receiver) expect(these portion) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expected, r.arrivals = these, make([]arrival, these.count)
	r.accepted, r.surplus = 0, 0
}

// serve takes one webhook.
func (r *receiver) serve(c *fasthttp.RequestCtx) {
	now := time.Now()
	if string(c.Path()) == rawPath {
		return
	}
	if r.delay > 0 {
		<-time.After(r.delay)
	}
	if !r.note(number(c.PostBody()), c.Request.Header.Peek("Idempotency-Key"), now) {
		c.SetStatusCode(fasthttp.StatusServiceUnavailable)
		return
	}
	c.SetContentType("application/json")
	c.SetBodyString(`{"messageId":"accepted"}`)
}

// number finds a message's number in its text; -1 if there is none.
func number(body []byte) int {
	const digits = 8
	_, after, _ := bytes.Cut(body, []byte(beforeNumber))
	n, err := strconv.Atoi(string(after[:min(digits, len(after))]))
	if err != nil {
		return -1
	}
	return n
}

// note counts a request and says whether to accept it.
func (r *receiver) note(number int, id []byte, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	index := number - r.expected.first
	if index < 0 || index >= len(r.arrivals) {
		r.surplus++ // of the warm-up, which had all of its requests
		return true
	}
	a := &r.arrivals[index]
	if a.first.IsZero() {
		a.first = at
		if r.failFirst {
			a.id = string(id)
			return false
		}
	}
	if !a.accepted.IsZero() {
		r.surplus++
		return true
	}
	a.accepted = at
	r.accepted++
	return true
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted
}

func (r *receiver) repeated() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.surplus
}

// last is when the last message was accepted.
func (r *receiver) last() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	var last time.Time
	for _, a := range r.arrivals {
		if a.accepted.After(last) {
			last = a.accepted
		}
	}
	return last
}

// took is how long each message took from when it was due, in order.
func (r *receiver) took(due []time.Time) []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	took := make([]time.Duration, len(due))
	for i, at := range due {
		took[i] = r.arrivals[i].first.Sub(at)
	}
	slices.Sort(took)
	return took
}

// seconds are when the second request of each message came.
func (r *receiver) seconds() map[string]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	seconds := make(map[string]time.Time, len(r.arrivals))
	for _, a := range r.arrivals {
		seconds[a.id] = a.accepted
	}
	return seconds
}

// errStalled means that messages stopped arriving before all were there.
var errStalled = errors.New("messages no longer arrive")

// await waits until every expected message has been accepted, or none is for
// as long as patience lasts.
func (r *receiver) await(ctx context.Context, patience time.Duration) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last, lastAt := -1, time.Now()
	for {
		have := r.count()
		if have >= r.expected.count {
			return nil
		}
		if have != last {
			last, lastAt = have, time.Now()
		} else if time.Since(lastAt) > patience {
			return fmt.Errorf("%d of %d: %w", have, r.expected.count, errStalled)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
