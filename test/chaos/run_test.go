package chaos_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/checker"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// run is one installation under chaos.
type run struct {
	t            testing.TB
	installation *testenv.Installation
	processes    map[string]*testenv.Process
	history      *checker.History
	began        time.Time

	pacing  sync.Mutex // one stops and starts at a time
	mu      sync.Mutex
	doubted time.Time // a start that was never answered may take effect until then
}

func newRun(t testing.TB, r *testenv.Installation) *run {
	c := &run{t: t, installation: r, processes: map[string]*testenv.Process{}, history: checker.NewHistory(), began: time.Now()}
	for _, u := range r.Processes() {
		c.processes[u.Name] = u
	}
	return c
}

// disturb carries a plan out, and returns when every step is over and mended.
func (c *run) disturb(ctx context.Context, steps []step) {
	var all sync.WaitGroup
	for _, s := range steps {
		if !pause(ctx, time.Until(c.began.Add(s.at))) {
			break
		}
		c.t.Log(s)
		all.Go(func() { c.carryOut(ctx, s) })
	}
	all.Wait()
}

// pause waits; it is false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (c *run) carryOut(ctx context.Context, s step) {
	d := checker.Disturbance{What: s.what, Target: s.target, Other: s.other, Detail: s.detail, From: time.Now()}
	hold := func() { pause(ctx, s.until-s.at) }
	switch s.what {
	case checker.Kill:
		c.processes[s.target].Kill()
		hold()
		c.start(s.target)
	case checker.Terminate:
		if err := c.processes[s.target].Terminate(); err != nil {
			c.t.Logf("a bad end: %v", err)
			d.Detail = "cut off"
		}
		if time.Since(d.From) > shutdownTimeout-time.Second {
			d.Detail = "cut off"
		}
		hold()
		c.start(s.target)
	case checker.Freeze:
		c.processes[s.target].Freeze()
		hold()
		c.processes[s.target].Thaw()
	case checker.Fault:
		c.breakProxy(s, hold)
	case stop:
		c.stopAndStart(hold)
		return
	}
	d.Until = time.Now()
	c.history.Disturb(d)
}

func (c *run) start(name string) {
	if err := c.processes[name].TryStart(); err != nil {
		c.t.Errorf("start %s: %v", name, err)
	}
}

func (c *run) breakProxy(s step, hold func()) {
	link := c.installation.Proxy(s.target, s.other)
	switch s.detail {
	case "reset":
		link.Reset()
	case "half-close up":
		link.HalfClose(true)
	case "half-close down":
		link.HalfClose(false)
	default:
		link.Set(s.fault)
		hold()
		link.Heal()
		return
	}
	hold()
}

// lateStart bounds how long a start that was sent may wait somewhere and then
// take effect: in a frozen process, and behind a cut.
const lateStart = 3 * longest

// stopAndStart stops the messaging for a while. The time counts only if the
// stop was answered, and if no start is under way that was never answered.
func (c *run) stopAndStart(hold func()) {
	if !c.pacing.TryLock() {
		return // the last one is still being answered
	}
	defer c.pacing.Unlock()
	stopped := c.control("stop")
	from := time.Now()
	c.mu.Lock()
	certain := stopped && from.After(c.doubted)
	c.mu.Unlock()
	hold()
	if certain {
		c.history.Stopped(from, time.Now())
	}
	for !c.control("start") {
		c.mu.Lock()
		c.doubted = time.Now().Add(lateStart)
		c.mu.Unlock()
		if time.Since(from) > time.Minute {
			return // the settling starts it again
		}
		<-time.After(500 * time.Millisecond)
	}
}

var controlClient = &http.Client{Timeout: 10 * time.Second}

// control asks an ingest to start or to stop.
func (c *run) control(verb string) bool {
	request, err := http.NewRequest(http.MethodPost, c.installation.Ingests[time.Now().Nanosecond()%len(c.installation.Ingests)].URL+"/api/v1/messaging/"+verb, http.NoBody)
	if err != nil {
		return false
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := controlClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// settle mends everything and waits until all that was handed in is final and
// nothing is on its way.
func (c *run) settle(ctx context.Context, at checker.Places) time.Duration {
	began := time.Now()
	for _, link := range c.installation.Proxies() {
		link.Heal()
	}
	for _, u := range c.installation.Processes() {
		u.Thaw()
		require.NoError(c.t, u.TryStart())
	}
	limit, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	said := time.Now()
	for {
		waits, err := "the messaging does not start", error(nil)
		if c.control("start") {
			waits, err = checker.Unsettled(limit, at)
		}
		if err == nil && waits == "" {
			return time.Since(began)
		}
		if err != nil {
			waits = err.Error()
		}
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			c.t.Logf("settling for %.0fs: %s", time.Since(began).Seconds(), waits)
		}
		if !pause(limit, 250*time.Millisecond) {
			c.t.Errorf("it does not settle within %s: %s", settleWithin, waits)
			return time.Since(began)
		}
	}
}

// watch tells how it goes, until ctx ends.
func (c *run) watch(ctx context.Context) {
	for pause(ctx, 10*time.Second) {
		tried, accepted := c.history.Count()
		c.t.Logf("%4.0fs  %d handed in, %d accepted, %d requests to the webhook",
			time.Since(c.began).Seconds(), tried, accepted, len(c.installation.Webhook.Received("")))
	}
}

// judge reads everything and compares. Redis may follow a little later than
// the rest.
func (c *run) judge(ctx context.Context, at checker.Places, promises checker.Promises) (checker.Evidence, checker.Verdict) {
	for again := 0; ; again++ {
		record := c.history.Evidence()
		record.Requests = requests(c.installation.Webhook)
		require.NoError(c.t, record.Gather(ctx, at))
		verdict := checker.Judge(record, promises)
		late := false
		for _, finding := range verdict.Findings {
			late = late || finding.Kind == checker.RedisDiffers || finding.Kind == checker.Miscounted
		}
		if !late || again == 20 {
			return record, verdict
		}
		<-time.After(500 * time.Millisecond)
	}
}

// report fails the test for what was found: every finding in a line, and one
// of each kind with its history.
func report(t testing.TB, seed uint64, verdict checker.Verdict) {
	shown := map[string]bool{}
	for _, finding := range verdict.Findings {
		if shown[finding.Kind] {
			finding.History = ""
		}
		shown[finding.Kind] = true
		t.Errorf("seed %d: %s", seed, finding)
	}
}

func ms(d time.Duration) string { return fmt.Sprint(d.Round(time.Millisecond)) }
