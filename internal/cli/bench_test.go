package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/bench"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
)

// TestBench measures on a user's Postgres, and writes what it measured in
// every form.
func TestBench(t *testing.T) {
	t.Setenv("DATABASE_URL", dbtest.URL(t))
	page := filepath.Join(t.TempDir(), "bench.html")
	e := dispatch(t, "bench", "--messages", "20", "--warm-up", "5", "--runs", "1", "--stored", "30", "--html", page, "--dir", embeddedtest.Dir(t), "--json")
	var told report
	require.NoError(t, json.Unmarshal([]byte(e.ok(t)), &told))
	require.Equal(t, 20, told.Messages)
	require.Equal(t, "saturate", told.Scenario)
	require.Len(t, told.Runs, 1)
	require.Positive(t, told.Runs[0].RawInserts)
	require.Contains(t, e.errOut, "measuring on postgres://")
	require.NotContains(t, e.errOut, "redis")
	html, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Contains(t, string(html), "bare inserts/s, 32 connections")

	if !testing.Short() { // as docs/BENCHMARKS.md names them
		for _, flags := range [][]string{
			{"--load", "batch"},
			{"--load", "ndjson"},
			{"--load", "nats"},
			{"--scenario", "light"},
			{"--scenario", "failing", "--rate", "100"},
			{"--scenario", "slow", "--delay", "200ms"},
			{"--scenario", "backlog"},
			{"--cpuprofile", filepath.Join(t.TempDir(), "cpu")},
		} {
			dispatch(t, append([]string{"bench", "--messages", "20", "--warm-up", "5", "--runs", "1"}, flags...)...).ok(t)
		}
	}
	dispatch(t, "bench", "--load", "pigeon").fails(t, 2, "single, batch, ndjson, nats")
	dispatch(t, "bench", "--scenario", "fast").fails(t, 2, "fast")
	dispatch(t, "bench", "--runs", "0").fails(t, 2, "1 or more")
	dispatch(t, "bench", "--senders", "0").fails(t, 2, "1 or more")
	dispatch(t, "bench", "--stored", "-1").fails(t, 2, "must not be negative")
	dispatch(t, "bench", "--messages", "100000000").fails(t, 2, "or less")
	dispatch(t, "bench", "--retry-base", "2h").fails(t, 2, "from 1ms to 1h")
	t.Setenv("NATS_URL", "ftp://nowhere")
	dispatch(t, "bench").fails(t, 2, "NATS_URL")
}

// TestFlagsWinOverTheScenario applies each scenario with and without them.
func TestFlagsWinOverTheScenario(t *testing.T) {
	t.Parallel()
	apply := func(scenario string, changed ...string) bench.Options {
		b := benchmark{scenario: scenario, runs: 1, options: bench.Options{
			Load: bench.LoadSingle, Messages: 7, WarmUp: 1, Connections: 1, Senders: 1, Concurrency: 9, RetryBase: time.Second,
		}}
		require.NoError(t, b.apply(func(flag string) bool {
			for _, name := range changed {
				if name == flag {
					return true
				}
			}
			return false
		}))
		return b.options
	}
	light := apply("light")
	require.Equal(t, []int{50, 1000, 500}, []int{light.Rate, light.Messages, light.WarmUp})
	light = apply("light", "messages", "rate")
	require.Equal(t, []int{0, 7, 500}, []int{light.Rate, light.Messages, light.WarmUp})
	require.Equal(t, 512, apply("slow").Concurrency)
	slow := apply("slow", "concurrency")
	require.Equal(t, 9, slow.Concurrency)
	require.Equal(t, 50*time.Millisecond, slow.Delay)
	require.True(t, apply("failing").FailFirst)
	require.True(t, apply("backlog").Backlog)
}

// TestFillResults takes the median and both ends over the runs.
func TestFillResults(t *testing.T) {
	t.Parallel()
	run := func(delivered float64) bench.Result {
		return bench.Result{
			Delivered: delivered, CPU: map[string]float64{"postgres": delivered / 100}, PeakMemory: map[string]uint64{"postgres": uint64(delivered) << 20},
			Lateness: &bench.Spread{Least: bench.Millis(-time.Millisecond), Most: bench.Millis(delivered * float64(time.Millisecond))},
		}
	}
	var figures table
	fillResults(&figures, []bench.Result{run(300), run(100), run(200)})
	rows := map[string][]string{}
	for _, row := range figures.texts() {
		rows[row[0]] = row[1:]
	}
	require.Equal(t, []string{"200", "100", "300"}, rows["delivered/s"])
	require.Equal(t, []string{"2.00", "1.00", "3.00"}, rows["CPU s, postgres"])
	require.Equal(t, []string{"200", "100", "300"}, rows["peak MiB, postgres"])
	require.Equal(t, []string{"-1ms", "-1ms", "-1ms"}, rows["retry late, earliest"])
	require.Equal(t, []string{"200ms", "100ms", "300ms"}, rows["retry late, latest"])
	require.NotContains(t, rows, "latency p50", "there is none")
}
