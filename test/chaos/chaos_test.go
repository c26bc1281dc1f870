package chaos_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/message-dispatcher/dispatch/test/checker"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

var (
	duration = flag.Duration("duration", 45*time.Second, "how long things are broken; settling comes on top")
	interval = flag.Duration("interval", time.Second, "the pace; 0 is the continuous mode")
	seedFlag = flag.Uint64("seed", 1, "which disturbances; 0: others each time")
	logsDir  = flag.String("logs", "", "directory for what every process says")
)

const (
	every           = 50 * time.Millisecond // a message is handed in
	shutdownTimeout = 12 * time.Second
	settleWithin    = 4 * time.Minute
)

func promisesAt(interval time.Duration) checker.Promises {
	return checker.Promises{
		Interval: interval, Batch: 50,
		AckWait: 15 * time.Second, WebhookTimeout: webhookTimeout, MaxRetries: 3,
	}
}

// settings make everything that waits wait for less, so that a run sees all
// of it: short retries are naks, the third one is a schedule.
func settings(promises checker.Promises) map[string]string {
	return map[string]string{
		"PROCESSING_INTERVAL": promises.Interval.String(),
		"BATCH_SIZE":          fmt.Sprint(promises.Batch),
		"WEBHOOK_TIMEOUT":     webhookTimeout.String(),
		"SHUTDOWN_TIMEOUT":    shutdownTimeout.String(),
		"LEASE":               "10s",
		"MAX_RETRIES":         fmt.Sprint(promises.MaxRetries),
		"RETRY_BASE":          "1s",
		"RETRY_FACTOR":        "4",
		"RETRY_MAX":           "30s",
		"LOG_LEVEL":           "info",
	}
}

func TestChaos(t *testing.T) {
	t.Parallel()
	chaos(t, promisesAt(*interval))
}

// Without an interval messages are emitted as they arrive.
func TestChaosInTheContinuousMode(t *testing.T) {
	t.Parallel()
	chaos(t, promisesAt(0))
}

func chaos(t *testing.T, promises checker.Promises) {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().Unix())
	}
	steps := plan(seed, *duration)
	t.Logf("seed %d, %s, %d disturbances; again: make chaos SEED=%d DURATION=%s INTERVAL=%s",
		seed, *duration, len(steps), seed, *duration, promises.Interval)
	for _, s := range steps {
		t.Log(s)
	}
	r := testenv.New(t, testenv.Options{
		Settings: settings(promises), Ingests: ingests, Dispatchers: dispatchers, Senders: senders, Redis: true, Proxies: true,
	})
	r.Webhook.RespondWith(misbehave(seed))
	r.Start()
	keepLogs(t, r)

	c := newRun(t, r)
	ctx, cancel := context.WithDeadline(t.Context(), c.began.Add(*duration))
	defer cancel()
	load, err := newClients(c.history, []string{r.Proxy("client", "ingest-1").URL, r.Proxy("client", "ingest-2").URL}, r.Proxy("client", "nats").URL)
	if err != nil {
		t.Fatal(err)
	}
	load.draw = seed
	var all sync.WaitGroup
	all.Go(func() { load.run(ctx, every) })
	all.Go(func() { c.watch(ctx) })
	c.disturb(ctx, steps)
	all.Wait()

	places := checker.Places{Database: r.Postgres.URL, NATS: r.NATS[0].URL, API: r.Ingests[0].URL, Redis: r.Redis.URL, Prefix: "dispatch"}
	settled := c.settle(t.Context(), places)
	record, verdict := c.judge(t.Context(), places, promises)
	t.Log("\n" + table(seed, *duration, settled, record, verdict))
	report(t, seed, verdict)
}

// keepLogs writes at the end what every process said, if asked to.
func keepLogs(t testing.TB, r *testenv.Installation) {
	if *logsDir == "" {
		return
	}
	t.Cleanup(func() {
		for _, u := range r.Processes() {
			if err := os.WriteFile(filepath.Join(*logsDir, u.Name+".log"), []byte(u.Output.String()), 0o600); err != nil {
				t.Error(err)
			}
		}
	})
}
