package e2e_test

import (
	"bytes"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// TestAHundredThousandParkedRetriesHoldUpNobody prints how long fresh
// messages take meanwhile; run it with -v to see.
func TestAHundredThousandParkedRetriesHoldUpNobody(t *testing.T) {
	t.Parallel()
	parked := uint64(100_000)
	if testing.Short() {
		parked = 5_000 // make proof takes them all
	}
	const (
		chunk     = 500 // as an ingest would commit them
		fresh     = 200
		mostBytes = 150 << 20
	)
	w := newPipeline(t, "RETRY_BASE", "1h", "RETRY_MAX", "1h", "RETRY_FACTOR", "1")
	w.webhook.respondWith(func(_ int, c call, rw http.ResponseWriter, _ *http.Request) {
		if bytes.Contains(c.Body, []byte("park")) {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	dispatcher, sender := w.startService("dispatcher").WaitReady(), w.startService("sender").WaitReady()
	for range parked / chunk {
		list := drafts(chunk)
		for i := range list {
			list[i].Content = "park"
		}
		w.insert(list...)
	}
	testenv.EventuallyWithin(t, 5*testenv.WaitTimeout, func() bool { return w.parked() == parked }, "only %d are parked", w.parked())

	consumer, err := w.js.Consumer(t.Context(), w.topology.DeliveriesStream(), w.topology.SenderConsumer(message.DefaultDestination))
	require.NoError(t, err)
	require.Zero(t, consumer.CachedInfo().NumAckPending, "what is parked takes no slot from fresh messages")

	took := make([]time.Duration, fresh)
	for i := range took {
		began := time.Now()
		id := w.insert(draft())[0]
		jetstream.Wake(w.js) // as an ingest does
		testenv.Eventually(t, func() bool { return len(w.webhook.received(id.String())) == 1 })
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	t.Logf("fresh messages beside %d parked ones: p50 %s, p99 %s", parked, took[fresh/2], took[fresh*99/100])

	for name, p := range map[string]*testenv.Process{"dispatcher": dispatcher, "sender": sender} {
		peak := peakMemory(t, p)
		t.Logf("%s: at most %d MiB", name, peak>>20)
		require.Less(t, peak, int64(mostBytes), name)
	}
}

// parked returns how many schedules wait.
func (w *pipeline) parked() uint64 {
	w.t.Helper()
	info := w.deliveries()
	consumer, err := w.js.Consumer(w.t.Context(), w.topology.DeliveriesStream(), w.topology.SenderConsumer(message.DefaultDestination))
	require.NoError(w.t, err)
	waiting := consumer.CachedInfo()
	return info.State.Msgs - min(info.State.Msgs, waiting.NumPending+uint64(waiting.NumAckPending))
}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakMemory returns the most memory that a process ever had resident.
func peakMemory(t *testing.T, p *testenv.Process) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.Pid()) + "/status")
	require.NoError(t, err)
	found := peakLine.FindSubmatch(status)
	require.NotNil(t, found)
	kilobytes, err := strconv.ParseInt(string(found[1]), 10, 64)
	require.NoError(t, err)
	return kilobytes << 10
}
