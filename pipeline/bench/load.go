package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/valyala/fasthttp"
)

// Loads are all that can be asked for.
var Loads = []string{LoadSingle, LoadBatch, LoadNDJSON, LoadNATS}

// How messages are put in.
const (
	LoadSingle = "single" // one POST a message
	LoadBatch  = "batch"  // POSTs of BatchSize messages
	LoadNDJSON = "ndjson" // streams of 10 × BatchSize lines
	LoadNATS   = "nats"   // published to the intake stream
)

// sent notes when each message was to be sent.
type sent struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (s *sent) note(id string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[id] = at
}

// text makes content of about the size of a short message; its number makes
// every one different.
func text(n int) string {
	return fmt.Sprintf("Order %08d is on its way: it will be with you tomorrow between nine and twelve. Track it at https://example.com/t/%08d", n, n)
}

func body(n int) string {
	return fmt.Sprintf(`{"to":"+905551111111","content":%q,"metadata":{"order":"%d"}}`, text(n), n)
}

// generate puts n messages in over several connections: as fast as they are
// taken, or rate a second if that is not 0.
func (r *run) generate(ctx context.Context, n int, sent *sent) error {
	var next atomic.Int64
	began := time.Now()
	step := r.options.portion()
	errs := make(chan error, r.options.Connections)
	var workers sync.WaitGroup
	for range r.options.Connections {
		workers.Go(func() {
			client := newClient(r.api)
			defer client.CloseIdleConnections()
			for {
				first := int(next.Add(int64(step))) - step
				if first >= n || ctx.Err() != nil {
					return
				}
				due := time.Now()
				if rate := r.options.Rate; rate > 0 {
					due = began.Add(time.Duration(first) * time.Second / time.Duration(rate))
					select {
					case <-time.After(time.Until(due)):
					case <-ctx.Done():
						return
					}
				}
				if err := r.put(client, portion{first, min(step, n-first), due}, sent); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	workers.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return ctx.Err()
	}
}

// portion is how many messages a request of the load has.
func (o Options) portion() int {
	switch o.Load {
	case LoadBatch:
		return o.BatchSize
	case LoadNDJSON:
		return 10 * o.BatchSize
	}
	return 1
}

// portion is what one request puts in.
type portion struct {
	first, count int
	due          time.Time
}

func (p portion) items() []string {
	items := make([]string, p.count)
	for i := range items {
		items[i] = body(p.first + i)
	}
	return items
}

func (r *run) put(client client, p portion, sent *sent) error {
	switch r.options.Load {
	case LoadBatch:
		return putBatch(client, p, sent)
	case LoadNDJSON:
		return putLines(client, p, sent)
	}
	var answer struct{ ID string }
	data, err := client.post(call{"/api/v1/messages", body(p.first), contentJSON})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	sent.note(answer.ID, p.due)
	return nil
}

func putBatch(client client, p portion, sent *sent) error {
	data, err := client.post(call{"/api/v1/messages/batch", "[" + strings.Join(p.items(), ",") + "]", contentJSON})
	if err != nil {
		return err
	}
	var answer struct {
		Rejected int
		Results  []struct{ ID string }
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if answer.Rejected > 0 {
		return fmt.Errorf("%d of %d messages were rejected", answer.Rejected, p.count)
	}
	for _, result := range answer.Results {
		sent.note(result.ID, p.due)
	}
	return nil
}

func putLines(client client, p portion, sent *sent) error {
	data, err := client.post(call{"/api/v1/messages/batch", strings.Join(p.items(), "\n"), contentLines})
	if err != nil {
		return err
	}
	lines := json.NewDecoder(bytes.NewReader(data))
	for range p.count {
		var answer struct{ ID string }
		if err := lines.Decode(&answer); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		if answer.ID == "" {
			return errors.New("a message was rejected")
		}
		sent.note(answer.ID, p.due)
	}
	return nil
}

const (
	contentJSON  = "application/json"
	contentLines = "application/x-ndjson"
)

// call is a POST.
type call struct{ path, body, contentType string }

// client is one connection of the load. It costs a fraction of net/http's,
// and it shares the machine with what is measured.
type client struct {
	*fasthttp.Client
	url string
}

func newClient(url string) client {
	const patience = 60 * time.Second
	return client{&fasthttp.Client{
		MaxConnsPerHost: 1, ReadTimeout: patience, WriteTimeout: patience,
		MaxIdemponentCallAttempts: 1, NoDefaultUserAgentHeader: true,
	}, url}
}

// post returns the body of a good answer.
func (c client) post(to call) ([]byte, error) {
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	request.Header.SetMethod(fasthttp.MethodPost)
	request.SetRequestURI(c.url + to.path)
	request.Header.SetContentType(to.contentType)
	request.SetBodyString(to.body)
	if err := c.Do(request, response); err != nil {
		return nil, fmt.Errorf("put messages in: %w", err)
	}
	if status := response.StatusCode(); status >= 300 {
		return nil, fmt.Errorf("put messages in: status %d: %s", status, response.Body())
	}
	return bytes.Clone(response.Body()), nil
}

// publish puts n messages into the intake stream. Their ids are not known to
// the publisher, so that there are no latencies.
func (r *run) publish(ctx context.Context, js jetstream.JetStream, n int) error {
	for i := range n {
		if _, err := js.PublishAsync("dispatch.intake.default", []byte(body(i)), jetstream.WithStallWait(10*time.Second)); err != nil {
			return fmt.Errorf("publish intake: %w", err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func connect(url string) (jetstream.JetStream, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
}
