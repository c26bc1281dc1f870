package overload_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// answerWithin is how long a client waits for an answer: whatever happens, it
// gets one by then.
const answerWithin = 30 * time.Second

var client = &http.Client{Timeout: answerWithin}

// responses are what clients were answered, by HTTP and by JetStream.
type responses struct {
	mu       sync.Mutex
	statuses map[int]int // 0: no answer
	acks     map[string]int
	unasked  int // 429s and 503s without Retry-After
	longest  time.Duration
}

func newResponses() *responses { return &responses{statuses: map[int]int{}, acks: map[string]int{}} }

func (a *responses) note(status int, header http.Header, took time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.statuses[status]++
	a.longest = max(a.longest, took)
	if (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) && header.Get("Retry-After") == "" {
		a.unasked++
	}
}

func (a *responses) ack(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := "acknowledged"
	if err != nil {
		text = err.Error()
	}
	a.acks[text]++
}

// count is how often a status was answered so far.
func (a *responses) count(status int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.statuses[status]
}

// refused is how many publishes were not acknowledged so far.
func (a *responses) refused() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	sum := 0
	for text, n := range a.acks {
		if text != "acknowledged" {
			sum += n
		}
	}
	return sum
}

// requireOnly fails the test unless every request had an answer, one of those
// given, and every 429 and 503 a Retry-After.
func (i *installation) requireOnly(a *responses, statuses ...int) {
	i.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	i.t.Logf("answers %v, the longest after %s; publishes %v", a.statuses, a.longest.Round(time.Millisecond), a.acks)
	foreign := maps.Clone(a.statuses)
	for _, status := range statuses {
		delete(foreign, status)
	}
	require.Empty(i.t, foreign, "answers other than %v", statuses)
	require.Zero(i.t, a.unasked, "refusals without Retry-After")
}

func body(key, more string) string {
	return fmt.Sprintf(`{"to":"+905551111111","content":%q}`, strings.TrimSpace(key+" "+more))
}

// post hands in one message once. more is text besides its key.
func (i *installation) post(a *responses, key, more string) bool {
	return i.postBody(a, key, body(key, more))
}

func (i *installation) postBody(a *responses, key, text string) bool {
	i.history.Invoke(key, "http")
	request, err := http.NewRequest(http.MethodPost, i.ingest().URL+"/api/v1/messages", strings.NewReader(text))
	if err != nil {
		return false
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header["idempotency-key"] = []string{key} // in lower case, so that net/http repeats nothing by itself
	began := time.Now()
	response, err := client.Do(request)
	if err != nil {
		a.note(0, nil, time.Since(began))
		return false
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	a.note(response.StatusCode, response.Header, time.Since(began))
	var m struct{ ID string }
	if response.StatusCode/100 != 2 || err != nil || json.Unmarshal(answer, &m) != nil {
		return false
	}
	i.history.Accept(key, m.ID)
	return true
}

// publish hands in one message once, over the intake stream.
func (i *installation) publish(a *responses, key, more string) bool {
	i.history.Invoke(key, "nats")
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	msg := &nats.Msg{Subject: "dispatch.intake.default", Data: []byte(body(key, more)), Header: nats.Header{}}
	_, err := i.js.PublishMsg(ctx, msg, natsjs.WithMsgID(key), natsjs.WithRetryAttempts(0))
	a.ack(err)
	if err != nil {
		return false
	}
	i.history.Accept(key, "")
	return true
}

// load hands in messages at a steady rate, every other one by HTTP, and
// repeats under its key what is not accepted, as a good client would.
type load struct {
	answers *responses
	stop    func() // ends it, and waits until every message has had its last answer
}

const repeatAfter = 300 * time.Millisecond

func (i *installation) load(every time.Duration) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{answers: newResponses()}
	var all sync.WaitGroup
	l.stop = func() { cancel(); all.Wait() }
	i.t.Cleanup(l.stop)
	all.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				all.Go(func() { i.handIn(ctx, l.answers, n) })
			}
		}
	})
	return l
}

func (i *installation) handIn(ctx context.Context, a *responses, n int) {
	key, try := fmt.Sprintf("http-%d", n), i.post
	if n%2 == 1 {
		key, try = fmt.Sprintf("nats-%d", n), i.publish
	}
	for !try(a, key, "") {
		select {
		case <-ctx.Done():
			return
		case <-time.After(repeatAfter):
		}
	}
}

// more waits until so many more requests were answered with a status.
func (i *installation) more(a *responses, status, n int) {
	i.t.Helper()
	before := a.count(status)
	i.eventually(fmt.Sprintf("%d more answers are %d", n, status), func() bool { return a.count(status) >= before+n })
}
