package bench_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/bench"
)

// TestEveryLoadAndScenarioCounts measures a little in every way, on a user's
// servers, and checks that the books balance; how fast it was is no matter of
// a test.
func TestEveryLoadAndScenarioCounts(t *testing.T) {
	t.Parallel()
	servers := giveServers(t)
	t.Run("all", func(t *testing.T) {
		ways := map[string]func(*bench.Options){
			"single":         func(*bench.Options) {},
			"batch":          func(o *bench.Options) { o.Load = bench.LoadBatch },
			"ndjson":         func(o *bench.Options) { o.Load = bench.LoadNDJSON },
			"nats":           func(o *bench.Options) { o.Load = bench.LoadNATS },
			"nats at a rate": func(o *bench.Options) { o.Load, o.Rate = bench.LoadNATS, 100 },
			"light":          func(o *bench.Options) { o.Rate = 100 },
			"slow":           func(o *bench.Options) { o.Delay = 5 * time.Millisecond },
			"failing":        func(o *bench.Options) { o.FailFirst = true },
			"backlog":        func(o *bench.Options) { o.Backlog = true },
			"senders":        func(o *bench.Options) { o.Senders = 3 },
		}
		if !testing.Short() { // below ten seconds a retry is a nak, and no schedule
			ways["failing for long"] = func(o *bench.Options) { o.FailFirst, o.RetryBase, o.WarmUp = true, 21*time.Second, 0 }
		}
		for name, edit := range ways {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				options := base(t)
				options.Servers = servers.env
				edit(&options)
				requireBooksBalance(t, options, measure(t, options, 1)[0])
			})
		}
	})
	servers.requireAsBefore(t)
}

func requireBooksBalance(t *testing.T, options bench.Options, result bench.Result) {
	t.Helper()
	for name, figure := range map[string]float64{
		"delivered": result.Delivered, "accepted": result.Accepted, "bare HTTP": result.RawHTTP,
		"bare inserts": result.RawInserts, "CPU a message": result.CPUPerMessage,
	} {
		require.Positive(t, figure, name)
	}
	require.Zero(t, result.Repeated)
	require.Equal(t, options.Connections, result.RawInsertConnections)
	if options.Rate > 0 {
		least := time.Duration(options.Messages-1) * time.Second / time.Duration(options.Rate)
		require.LessOrEqual(t, result.Accepted, float64(options.Messages)/least.Seconds(), "the timetable is kept")
	}
	if options.Backlog {
		require.Nil(t, result.Latency)
	} else {
		counted := 0
		for _, bucket := range result.Latencies {
			counted += bucket.Count
		}
		require.Equal(t, options.Messages, counted)
		require.Equal(t, options.Messages, result.Latency.Count)
		require.Positive(t, result.Latency.Least)
		require.GreaterOrEqual(t, result.Latency.Most, result.Latency.P99)
	}
	if options.FailFirst {
		require.Equal(t, options.Messages, result.Lateness.Count)
		require.GreaterOrEqual(t, result.Lateness.Least, bench.Millis(0), "no retry comes early")
	} else {
		require.Nil(t, result.Lateness)
	}
	for program, bytes := range result.Samples[0].Memory {
		require.GreaterOrEqual(t, result.PeakMemory[program], bytes)
	}
	requireAPage(t, result)
}

// requireAPage expects one file that needs nothing from elsewhere.
func requireAPage(t *testing.T, result bench.Result) {
	t.Helper()
	var html strings.Builder
	require.NoError(t, bench.Page{
		Title: "a </title> title", Results: []bench.Result{result}, Figures: [][]string{{"", "MEDIAN"}, {"p50", "1ms"}},
	}.Write(&html))
	require.NotContains(t, html.String(), "a </title>")
	require.Contains(t, html.String(), "<td>1ms</td>")
	require.NotRegexp(t, `(src|href)=`, html.String())
	require.Contains(t, html.String(), `"delivered":`)
}

// TestOnServersOfItsOwn needs nothing to be there, and leaves nothing.
func TestOnServersOfItsOwn(t *testing.T) {
	t.Parallel()
	options := base(t)
	options.Stored = 500
	for _, result := range measure(t, options, 2) {
		requireBooksBalance(t, options, result)
		for _, program := range []string{"dispatch", "postgres", "redis-server"} {
			require.Positive(t, result.PeakMemory[program], program)
			require.Contains(t, result.CPU, program)
		}
	}
	left, err := os.ReadDir(options.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestResultAsJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(bench.Result{
		Delivered: 12, RawInserts: 34, FinalAfter: bench.Millis(1234567 * time.Nanosecond),
		Latency:    &bench.Spread{Count: 2, P50: bench.Millis(time.Second)},
		PeakMemory: map[string]uint64{"postgres": 7}, CPU: map[string]float64{"postgres": 0.5},
	})
	require.NoError(t, err)
	require.JSONEq(t, `{
		"deliveredPerSecond": 12, "acceptedPerSecond": 0, "rawHTTPPerSecond": 0,
		"rawInsertsPerSecond": 34, "rawInsertConnections": 0,
		"latency": {"count": 2, "leastMilliseconds": 0, "p50Milliseconds": 1000, "p90Milliseconds": 0, "p99Milliseconds": 0, "mostMilliseconds": 0},
		"finalAfterMilliseconds": 1.235, "cpuMillisecondsPerMessage": 0,
		"cpuSeconds": {"postgres": 0.5}, "peakMemoryBytes": {"postgres": 7}, "repeated": 0
	}`, string(text))
}
