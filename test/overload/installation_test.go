package overload_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/checker"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

const (
	ackWait        = 15 * time.Second
	webhookTimeout = 5 * time.Second
	maxRetries     = 3
	settleWithin   = 2 * time.Minute
)

// installation is one of each service, and what is known of it.
type installation struct {
	*testenv.Installation
	t       *testing.T
	history *checker.History
	js      natsjs.JetStream // of a client

	promises checker.Promises
}

// install prepares an installation; start it with Start.
func install(t *testing.T, o testenv.Options) *installation {
	t.Helper()
	o.Ingests, o.Dispatchers, o.Senders = max(o.Ingests, 1), max(o.Dispatchers, 1), max(o.Senders, 1)
	i := &installation{Installation: testenv.New(t, o), t: t, history: checker.NewHistory(), promises: checker.Promises{
		AckWait: ackWait, WebhookTimeout: webhookTimeout, MaxRetries: maxRetries, NoRedis: !o.Redis,
	}}
	conn, err := nats.Connect(i.NATS[0].URL, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.IgnoreAuthErrorAbort())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	i.js, err = natsjs.New(conn)
	require.NoError(t, err)
	return i
}

func (i *installation) ingest() *testenv.Process     { return i.Ingests[0] }
func (i *installation) dispatcher() *testenv.Process { return i.Dispatchers[0] }
func (i *installation) sender() *testenv.Process     { return i.Senders[0] }

// eventually waits for something.
func (i *installation) eventually(what string, is func() bool) {
	i.t.Helper()
	for deadline := time.Now().Add(testenv.WaitTimeout); !is(); {
		if time.Now().After(deadline) {
			i.t.Fatalf("%s: not within %s", what, testenv.WaitTimeout)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// health is what a service says of itself.
type health struct {
	code   int
	Status string
	Checks map[string]struct{ Status, Detail string }
}

func (h health) String() string { return fmt.Sprintf("%d %s %v", h.code, h.Status, h.Checks) }

// says reports whether an entry is in a state.
func (h health) says(entry, state string) bool { return h.Checks[entry].Status == state }

var probe = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// ask returns what a service answers to a GET.
func ask(u *testenv.Process, path string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, u.URL+path, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	response, err := probe.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// awaitHealth waits until a service answers to /health/ready with a code, and an
// entry of it is in a state; metrics must say the same.
func (i *installation) awaitHealth(u *testenv.Process, code int, entry, state string) {
	i.t.Helper()
	var last health
	metric := fmt.Sprintf(`dispatch_dependency_state{dependency=%q,service=%q,state=%q}`, entry, strings.Split(u.Name, "-")[0], state)
	is := func() bool {
		var body []byte
		var err error
		last = health{}
		if last.code, body, err = ask(u, "/health/ready"); err != nil || json.Unmarshal(body, &last) != nil {
			return false
		}
		return last.code == code && last.says(entry, state) && i.metric(u, metric) == 1
	}
	for deadline := time.Now().Add(testenv.WaitTimeout); !is(); {
		if time.Now().After(deadline) {
			i.t.Fatalf("%s never answers %d with %s %s, it says %s", u.Name, code, entry, state, last)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// isReady waits until a service has nothing to complain of.
func (i *installation) isReady(units ...*testenv.Process) {
	i.t.Helper()
	for _, u := range units {
		var last health
		i.eventually(u.Name+" is ready again, all of it", func() bool {
			code, body, err := ask(u, "/health/ready")
			last = health{code: code}
			return err == nil && code == http.StatusOK && json.Unmarshal(body, &last) == nil && last.Status == "ok"
		})
	}
}

// metric is a sample of a service's metrics; 0 if there is none. Labels are
// in alphabetic order.
func (i *installation) metric(u *testenv.Process, sample string) float64 {
	_, page, err := ask(u, "/metrics")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(page)) {
		if rest, found := strings.CutPrefix(line, sample+" "); found {
			value, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			require.NoError(i.t, err)
			return value
		}
	}
	return 0
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak is the most memory that a process ever had, in MiB.
func (i *installation) peak(u *testenv.Process) int {
	i.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", u.Pid()))
	require.NoError(i.t, err)
	found := highWater.FindSubmatch(status)
	require.NotNil(i.t, found, "%s", status)
	kibibytes, err := strconv.Atoi(string(found[1]))
	require.NoError(i.t, err)
	return kibibytes >> 10
}

// requireMemory fails the test when a service has ever needed more memory than so many MiB.
func (i *installation) requireMemory(mebibytes int, units ...*testenv.Process) {
	i.t.Helper()
	for _, u := range units {
		peak := i.peak(u)
		i.t.Logf("%s: %d MiB at the most, of %d", u.Name, peak, mebibytes)
		require.LessOrEqual(i.t, peak, mebibytes, "memory of %s", u.Name)
	}
}

func (i *installation) places() checker.Places {
	at := checker.Places{Database: i.Postgres.URL, NATS: i.NATS[0].URL, API: i.ingest().URL, Prefix: "dispatch"}
	if i.Redis != nil {
		at.Redis = i.Redis.URL
	}
	return at
}

// settle waits until everything is at its end, and has the checker judge.
func (i *installation) settle() checker.Evidence {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), settleWithin)
	defer cancel()
	said := time.Now()
	for {
		waits, err := checker.Unsettled(ctx, i.places())
		if err == nil && waits == "" {
			break
		}
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			i.t.Logf("not settled: %s %v", waits, err)
		}
		select {
		case <-ctx.Done():
			i.t.Fatalf("it does not settle within %s: %s %v", settleWithin, waits, err)
		case <-time.After(250 * time.Millisecond):
		}
	}
	return i.judge()
}

// judge compares everything with everything. Redis may follow a little later
// than the rest.
func (i *installation) judge() checker.Evidence {
	i.t.Helper()
	for again := 0; ; again++ {
		record := i.history.Evidence()
		for _, c := range i.Webhook.Received("") {
			number, _ := strconv.Atoi(c.Attempt) // 0 is no number of ours
			record.Requests = append(record.Requests, checker.Request{
				Sender: c.Path, ID: c.ID, Key: keyOf(c), Attempt: number, Arrived: c.At, Done: c.Done, Status: c.Status, Written: c.Written,
			})
		}
		require.NoError(i.t, record.Gather(i.t.Context(), i.places()))
		verdict := checker.Judge(record, i.promises)
		late := false
		for _, finding := range verdict.Findings {
			late = late || finding.Kind == checker.RedisDiffers || finding.Kind == checker.Miscounted
		}
		if late && again < 20 {
			<-time.After(500 * time.Millisecond)
			continue
		}
		for n, finding := range verdict.Findings {
			if n == 10 {
				i.t.Errorf("and %d more", len(verdict.Findings)-n)
				break
			}
			i.t.Error(finding)
		}
		for _, double := range verdict.Duplicates {
			i.t.Logf("sent twice, with the excuse %q: %s", double.Excuse, double.Second.ID)
		}
		tried, accepted := i.history.Count()
		i.t.Logf("%d handed in, %d accepted, %d stored, %d requests to the webhook", tried, accepted, len(record.Rows), len(record.Requests))
		return record
	}
}

// keyOf returns the client's key from the body of a call.
func keyOf(call testenv.Call) string {
	var body struct{ Content string }
	_ = json.Unmarshal(call.Body, &body) // a body that is none has no key, which the checker finds
	return strings.SplitN(body.Content, " ", 2)[0]
}

// maxMemory is the most that any service may need in a scenario that does not
// say otherwise, in MiB.
const maxMemory = 256
