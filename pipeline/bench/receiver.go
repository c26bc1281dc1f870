package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
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
	requests int
	first    map[string]time.Time // first request of each message
	arrived  map[string]time.Time // the request that was accepted
	more     chan struct{}
}

func startReceiver(ctx context.Context, delay time.Duration, failFirst bool) (*receiver, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start receiver: %w", err)
	}
	r := &receiver{
		url: "http://" + listener.Addr().String(), delay: delay, failFirst: failFirst,
		more: make(chan struct{}, 1),
	}
	r.reset(0)
	r.server = &fasthttp.Server{Handler: r.serve, Name: "receiver", CloseOnShutdown: true, Logger: nothing{}}
	go func() { _ = r.server.Serve(listener) }() // ends with close
	return r, nil
}

// nothing logs nothing: a connection that is reset at the end is no news.
type nothing struct{}

func (nothing) Printf(string, ...any) {}

func (r *receiver) close() { _ = r.server.Shutdown() }

func (r *receiver) reset(expected int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = 0
	r.first = make(map[string]time.Time, expected)
	r.arrived = make(map[string]time.Time, expected)
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
	if !r.note(string(c.Request.Header.Peek("Idempotency-Key")), now) {
		c.SetStatusCode(fasthttp.StatusServiceUnavailable)
		return
	}
	c.SetContentType("application/json")
	c.SetBodyString(`{"messageId":"accepted"}`)
}

// note counts a request and says whether to accept it.
func (r *receiver) note(id string, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	if _, seen := r.first[id]; !seen {
		r.first[id] = at
		if r.failFirst {
			return false
		}
	}
	if _, seen := r.arrived[id]; !seen {
		r.arrived[id] = at
		select {
		case r.more <- struct{}{}:
		default:
		}
	}
	return true
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.arrived)
}

// errStalled means that messages stopped arriving before all were there.
var errStalled = errors.New("messages no longer arrive")

// await waits until so many messages have arrived. progress is called with
// the number now and then.
func (r *receiver) await(ctx context.Context, n int, progress func(int)) error {
	const patience = 60 * time.Second
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last, lastAt := -1, time.Now()
	for {
		have := r.count()
		progress(have)
		if have >= n {
			return nil
		}
		if have != last {
			last, lastAt = have, time.Now()
		} else if time.Since(lastAt) > patience {
			return fmt.Errorf("%d of %d: %w", have, n, errStalled)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// rawPath answers at once and counts nothing.
const rawPath = "/raw"

// raw returns how many requests a second the receiver answers to so many
// connections, for a second.
func (r *receiver) raw(ctx context.Context, connections int) (float64, error) {
	const length = time.Second
	var answered atomic.Int64
	var workers sync.WaitGroup
	began := time.Now()
	for range connections {
		workers.Go(func() {
			client := newClient(r.url)
			defer client.CloseIdleConnections()
			for time.Since(began) < length && ctx.Err() == nil {
				if _, err := client.post(call{rawPath, body(0), contentJSON}); err != nil {
					return
				}
				answered.Add(1)
			}
		})
	}
	workers.Wait()
	if answered.Load() == 0 {
		return 0, errors.New("the receiver does not answer")
	}
	return float64(answered.Load()) / time.Since(began).Seconds(), ctx.Err()
}
