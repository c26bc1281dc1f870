package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// receiver is the webhook: it notes when each message first arrived.
type receiver struct {
	url    string
	server *http.Server
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
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = r.server.Serve(listener) }() // ends with Close
	return r, nil
}

func (r *receiver) reset(expected int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = 0
	r.first = make(map[string]time.Time, expected)
	r.arrived = make(map[string]time.Time, expected)
}

// ServeHTTP takes one webhook.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	now := time.Now()
	_, _ = io.Copy(io.Discard, request.Body) // the length is ours
	if request.URL.Path == rawPath {
		return
	}
	if r.delay > 0 {
		select {
		case <-time.After(r.delay):
		case <-request.Context().Done():
			return
		}
	}
	if !r.note(request.Header.Get("Idempotency-Key"), now) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, `{"messageId":"accepted"}`)
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
	bounded, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var answered atomic.Int64
	var workers sync.WaitGroup
	began := time.Now()
	for range connections {
		workers.Go(func() {
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
			defer client.CloseIdleConnections()
			for bounded.Err() == nil {
				request, err := http.NewRequestWithContext(bounded, http.MethodPost, r.url+rawPath, strings.NewReader(body(0)))
				if err != nil {
					return
				}
				response, err := client.Do(request)
				if err != nil {
					return // the second is over
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
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
