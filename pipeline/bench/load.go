package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// How messages are put in.
const (
	LoadSingle = "single" // one POST a message
	LoadBatch  = "batch"  // POSTs of BatchSize messages
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
// taken, or rate a second if that is not 0. from is the first number.
func (r *run) generate(ctx context.Context, n int, sent *sent) error {
	var next atomic.Int64
	began := time.Now()
	step := 1
	if r.options.Load == LoadBatch {
		step = r.options.BatchSize
	}
	errs := make(chan error, r.options.Connections)
	var workers sync.WaitGroup
	for range r.options.Connections {
		workers.Go(func() {
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 60 * time.Second}
			defer client.CloseIdleConnections()
			for {
				first := int(next.Add(int64(step))) - step
				if first >= n {
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
				if err := r.put(ctx, client, portion{first, min(step, n-first), due}, sent); err != nil {
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

// portion is what one request puts in.
type portion struct {
	first, count int
	due          time.Time
}

func (r *run) put(ctx context.Context, client *http.Client, p portion, sent *sent) error {
	if r.options.Load == LoadBatch {
		return r.putBatch(ctx, client, p, sent)
	}
	var answer struct{ ID string }
	if err := r.post(ctx, client, call{"/api/v1/messages", body(p.first)}, &answer); err != nil {
		return err
	}
	sent.note(answer.ID, p.due)
	return nil
}

func (r *run) putBatch(ctx context.Context, client *http.Client, p portion, sent *sent) error {
	items := make([]string, p.count)
	for i := range items {
		items[i] = body(p.first + i)
	}
	var answer struct {
		Rejected int
		Results  []struct{ ID string }
	}
	if err := r.post(ctx, client, call{"/api/v1/messages/batch", "[" + strings.Join(items, ",") + "]"}, &answer); err != nil {
		return err
	}
	if answer.Rejected > 0 {
		return fmt.Errorf("%d of %d messages were rejected", answer.Rejected, p.count)
	}
	for _, result := range answer.Results {
		sent.note(result.ID, p.due)
	}
	return nil
}

// call is a POST.
type call struct{ path, body string }

func (r *run) post(ctx context.Context, client *http.Client, c call, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.api+c.path, bytes.NewBufferString(c.body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("put messages in: %w", err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if response.StatusCode >= 300 {
		return fmt.Errorf("put messages in: %s: %s", response.Status, data)
	}
	return json.Unmarshal(data, answer)
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
