package overload_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// mostQueued is how many ids may wait for the senders of a destination: ticks
// fill the queue up to 10,000, and the ingest may have emitted 1,000 more since
// it looked last.
const mostQueued = 10_000 + 1_000

// Ten times as much comes in as can be delivered, on every way there is: the
// backlog is in Postgres, everything else stays as small as it was, and light
// requests are answered all the while.
func TestMoreComesInThanGoesOut(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	i := install(t, testenv.Options{Settings: map[string]string{"SENDER_CONCURRENCY": "4"}})
	i.Webhook.RespondWith(testenv.Slowly(100 * time.Millisecond)) // 40 a second go out
	i.Start()
	const rounds = 25
	a, queued := newResponses(), 0
	for n := range rounds {
		i.postMany(a, fmt.Sprintf("batch-%d", n), "application/json", 1000)
		i.postMany(a, fmt.Sprintf("lines-%d", n), "application/x-ndjson", 200)
		for m := range 20 {
			i.post(a, fmt.Sprintf("single-%d-%d", n, m), "")
			i.publish(a, fmt.Sprintf("direct-%d-%d", n, m), "")
		}
		queued = max(queued, int(i.stream("DISPATCH_DELIVERIES").Msgs))
		for _, path := range []string{"/api/v1/messaging/status", "/api/v1/messages?limit=5&status=PENDING", "/health/ready"} {
			code, answer, err := ask(i.ingest(), path)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, code, "%s: %s", path, answer)
		}
	}
	i.eventually("the senders have all that may wait for them", func() bool {
		queued = max(queued, int(i.stream("DISPATCH_DELIVERIES").Msgs))
		return queued > 9_000
	})
	t.Logf("%d ids on the queue at the most, %d messages PENDING", queued, i.count("SELECT count(*) FROM messages WHERE status = 'PENDING'"))
	require.LessOrEqual(t, queued, mostQueued)
	i.Webhook.RespondWith(nil)
	i.requireOnly(a, http.StatusOK, http.StatusCreated, http.StatusTooManyRequests)
	i.settle()
	i.requireMemory(maxMemory, i.Services()...)
}

// postMany hands in messages by one request, and repeats it until all of them
// are accepted.
func (i *installation) postMany(a *responses, name, kind string, count int) {
	i.t.Helper()
	lines, keys := make([]string, count), make([]string, count)
	for n := range lines {
		keys[n] = fmt.Sprintf("%s-%d", name, n)
		i.history.Invoke(keys[n], "http")
		lines[n] = fmt.Sprintf(`{"to":"+905551111111","content":%q,"idempotencyKey":%q}`, keys[n], keys[n])
	}
	text := strings.Join(lines, "\n")
	if kind == "application/json" {
		text = "[" + strings.Join(lines, ",") + "]"
	}
	began := time.Now()
	response, err := client.Post(i.ingest().URL+"/api/v1/messages/batch", kind, strings.NewReader(text))
	require.NoError(i.t, err)
	defer response.Body.Close()
	a.note(response.StatusCode, response.Header, time.Since(began))
	answer, err := io.ReadAll(response.Body)
	require.NoError(i.t, err)
	type item struct {
		Index int
		ID    string
	}
	var whole struct{ Results []item }
	if kind == "application/json" {
		require.NoError(i.t, json.Unmarshal(answer, &whole))
	}
	for line := range strings.Lines(string(answer)) {
		var one item
		if kind != "application/json" && json.Unmarshal([]byte(line), &one) == nil {
			whole.Results = append(whole.Results, one)
		}
	}
	for _, result := range whole.Results {
		if result.ID != "" {
			i.history.Accept(keys[result.Index], result.ID)
		}
	}
}

// The webhook takes connections and never answers: what is under way has a
// bound, a sender stops in its time, and when the webhook answers again every
// message arrives, after no more attempts than were made in time.
func TestAWebhookThatNeverAnswers(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	const messages, concurrency = 1000, 32
	i := install(t, testenv.Options{Settings: map[string]string{
		"SENDER_CONCURRENCY": fmt.Sprint(concurrency), "MAX_RETRIES": "50", "WEBHOOK_TIMEOUT": "2s", "SHUTDOWN_TIMEOUT": "12s",
	}})
	i.promises.MaxRetries, i.promises.WebhookTimeout = 50, 2*time.Second
	i.Webhook.RespondWith(testenv.Hang)
	i.Start()
	a := newResponses()
	i.postMany(a, "hanging", "application/json", messages)
	most := map[string]float64{}
	watch := func() {
		for _, name := range []string{"in_flight", "deliveries_held"} {
			most[name] = max(most[name], i.metric(i.sender(), "dispatch_sender_"+name+`{destination="default"}`))
		}
	}
	i.eventually("attempts are given up", func() bool {
		watch()
		return i.metric(i.sender(), `dispatch_sender_attempts_total{destination="default",outcome="retry"}`) >= 2*concurrency
	})
	began := time.Now()
	require.NoError(t, i.sender().Terminate())
	t.Logf("stopped within %s; at the most %v", time.Since(began).Round(time.Millisecond), most)
	require.LessOrEqual(t, most["in_flight"], float64(concurrency))
	require.LessOrEqual(t, most["deliveries_held"], float64(2*concurrency))
	i.sender().Start().WaitReady()
	i.Webhook.RespondWith(nil)
	i.requireOnly(a, http.StatusOK)
	for _, row := range i.settle().Rows {
		require.Equal(t, "SENT", row.Status, "%s %s", row.ID, row.LastError)
	}
	i.requireMemory(maxMemory, i.Services()...)
}
