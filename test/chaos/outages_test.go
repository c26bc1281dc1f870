package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/checker"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// The tests below break one thing in one way, and have the checker judge.

// continuous is the pace of a test that wants everything delivered at once.
var continuous = map[string]string{"LEASE": "3s", "RETRY_BASE": "500ms", "RETRY_FACTOR": "2"}

// unpaced is what such an installation promises.
var unpaced = checker.Promises{AckWait: 15 * time.Second, WebhookTimeout: 5 * time.Second, MaxRetries: 3}

// batch hands in messages, in one request, and notes what is answered.
func (c *run) batch(prefix string, count int) {
	c.t.Helper()
	type draft struct {
		To             string `json:"to"`
		Content        string `json:"content"`
		IdempotencyKey string `json:"idempotencyKey"`
	}
	drafts := make([]draft, count)
	for i := range drafts {
		key := fmt.Sprintf("%s-%d", prefix, i)
		drafts[i] = draft{"+905551111111", key, key}
		c.history.Invoke(key, "http")
	}
	body, err := json.Marshal(drafts)
	require.NoError(c.t, err)
	response, err := http.Post(c.installation.Ingests[0].URL+"/api/v1/messages/batch", "application/json", bytes.NewReader(body))
	require.NoError(c.t, err)
	defer response.Body.Close()
	var answer struct{ Results []struct{ ID string } }
	require.NoError(c.t, json.NewDecoder(response.Body).Decode(&answer))
	require.Len(c.t, answer.Results, count)
	for i, result := range answer.Results {
		c.history.Accept(drafts[i].IdempotencyKey, result.ID)
	}
}

// awaitRequests waits until the webhook has seen so many.
func (c *run) awaitRequests(count int) {
	c.t.Helper()
	testenv.Eventually(c.t, func() bool { return len(c.installation.Webhook.Received("")) >= count })
}

// during notes a disturbance of a process.
func (c *run) during(what, target string, disturb func()) {
	d := checker.Disturbance{What: what, Target: target, From: time.Now()}
	disturb()
	d.Until = time.Now()
	c.history.Disturb(d)
}

func (c *run) places() checker.Places {
	at := checker.Places{Database: c.installation.Postgres.URL, NATS: c.installation.NATS[0].URL, API: c.installation.Ingests[0].URL, Prefix: "dispatch"}
	if c.installation.Redis != nil {
		at.Redis = c.installation.Redis.URL
	}
	return at
}

func TestRollingRestartsWithABacklogDeliverAll(t *testing.T) {
	t.Parallel()
	backlog, rounds := 6000, 7
	if testing.Short() {
		backlog, rounds = 3000, 3 // make proof makes them all
	}
	r := testenv.New(t, testenv.Options{Settings: continuous, Ingests: 1, Dispatchers: 2, Senders: 2})
	r.Webhook.RespondWith(testenv.Slowly(2 * time.Second))
	r.Start()
	c := newRun(t, r)
	for i := range backlog / 1000 {
		c.batch(fmt.Sprint(i), 1000)
	}
	c.awaitRequests(50)
	for range rounds {
		for _, u := range r.Processes() {
			c.during(checker.Terminate, u.Name, func() {
				require.NoError(t, u.Terminate())
				u.Start()
			})
			if u.URL != "" {
				u.WaitReady()
			}
		}
	}
	require.Less(t, len(r.Webhook.Received("")), backlog, "there was a backlog all the time")
	r.Webhook.RespondWith(nil)

	c.settle(t.Context(), c.places())
	record, verdict := c.judge(t.Context(), c.places(), noRedis(unpaced))
	report(t, 0, verdict)
	require.Empty(t, verdict.Duplicates, "a restart in good order repeats nothing")
	require.Equal(t, map[string]int64{"SENT": int64(backlog)}, record.Counted)
}

func noRedis(p checker.Promises) checker.Promises {
	p.NoRedis = true
	return p
}

func TestAKillOfEverythingUnderLoadRepeatsWhatWasInFlightAlone(t *testing.T) {
	t.Parallel()
	r := testenv.New(t, testenv.Options{Settings: continuous, Ingests: 1, Dispatchers: 2, Senders: 2})
	r.Start()
	c := newRun(t, r)
	ctx, stop := context.WithCancel(t.Context())
	load, err := newClients(c.history, []string{r.Ingests[0].URL}, r.NATS[0].URL)
	require.NoError(t, err)
	load.plain = true
	var loading sync.WaitGroup
	loading.Go(func() { load.run(ctx, 10*time.Millisecond) })
	c.awaitRequests(200)

	from := time.Now()
	var killing sync.WaitGroup
	for _, u := range r.Processes() {
		killing.Go(u.Kill)
	}
	killing.Wait()
	r.Start()
	for _, u := range r.Processes() {
		c.history.Disturb(checker.Disturbance{What: checker.Kill, Target: u.Name, From: from, Until: time.Now()})
	}
	c.awaitRequests(len(r.Webhook.Received("")) + 200)
	stop()
	loading.Wait()

	c.settle(t.Context(), c.places())
	_, verdict := c.judge(t.Context(), c.places(), noRedis(unpaced))
	report(t, 0, verdict)
	// Each of them was in flight at the kill, or the verdict would say so. How
	// many that are depends on how busy the machine is, so it is logged and not
	// held against a number.
	t.Logf("%d requests were repeated", len(verdict.Duplicates))
}

// What NATS holds can be lost as a whole: it costs requests that are made
// again, and no message.
func TestALossOfAllThatNATSHoldsLosesNoMessage(t *testing.T) {
	t.Parallel()
	const count = 400
	settings := map[string]string{"LEASE": "3s", "RETRY_BASE": "15s", "RETRY_FACTOR": "1", "RETRY_MAX": "15s"}
	r := testenv.New(t, testenv.Options{Settings: settings, Ingests: 1, Dispatchers: 2, Senders: 2})
	r.Webhook.RespondWith(func(call testenv.Call, w http.ResponseWriter, request *http.Request) {
		if strings.HasSuffix(keyOf(call), "7") && call.Attempt == "1" {
			w.WriteHeader(http.StatusServiceUnavailable) // is parked
			return
		}
		testenv.Slowly(50*time.Millisecond)(call, w, request)
	})
	r.Start()
	c := newRun(t, r)
	c.batch("before", count)
	c.awaitRequests(count / 4)

	nats := r.NATS[0]
	c.during(checker.Kill, "nats", func() {
		nats.Kill()
		require.NoError(t, os.RemoveAll(nats.Node.Dir))
		c.batch("meanwhile", 20)
		nats.Start()
	})
	r.Provision()
	c.batch("after", 20)

	c.settle(t.Context(), c.places())
	promises := noRedis(unpaced)
	promises.NoEvents = true
	record, verdict := c.judge(t.Context(), c.places(), promises)
	verdict.Findings = slices.DeleteFunc(verdict.Findings, func(f checker.Finding) bool {
		return f.Kind == checker.Duplicated || f.Kind == checker.Unrecorded // an outcome that only NATS held
	})
	report(t, 0, verdict)
	t.Logf("%d of %d requests were made again", len(verdict.Duplicates), len(record.Requests))
	require.Equal(t, map[string]int64{"SENT": count + 40}, record.Counted)
}

func TestRedisIsNeverNeededAndExactAgainAfterwards(t *testing.T) {
	t.Parallel()
	const part = 300
	r := testenv.New(t, testenv.Options{Settings: continuous, Ingests: 1, Dispatchers: 2, Senders: 2, Redis: true})
	r.Start()
	c := newRun(t, r)
	options, err := goredis.ParseURL(r.Redis.URL)
	require.NoError(t, err)
	client := goredis.NewClient(options)
	defer client.Close()

	for name, breakIt := range map[string]func(){
		"flushed": func() { require.NoError(t, client.FlushAll(t.Context()).Err()) },
		"killed":  func() { r.Redis.Kill(); r.Redis.Start() },
		"frozen":  r.Redis.Freeze,
		"gone":    r.Redis.Kill,
	} {
		before := len(r.Webhook.Received(""))
		breakIt()
		c.batch(name, part)
		c.awaitRequests(before + part)
		require.True(t, r.Ingests[0].IsReady() && r.Senders[0].IsReady() && r.Dispatchers[0].IsReady(), "ready while Redis is %s", name)
		r.Redis.Thaw()
		r.Redis.Start()
	}

	c.settle(t.Context(), c.places())
	record, verdict := c.judge(t.Context(), c.places(), unpaced)
	report(t, 0, verdict)
	require.Empty(t, verdict.Duplicates)
	require.Equal(t, map[string]int64{"SENT": 4 * part}, record.Counted)
}
