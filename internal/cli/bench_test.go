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
	var told bench.Report
	require.NoError(t, json.Unmarshal([]byte(e.OK(t)), &told))
	require.Equal(t, 20, told.Messages)
	require.Equal(t, "saturate", told.Scenario)
	require.Len(t, told.Runs, 1)
	require.Positive(t, told.Runs[0].RawInserts)
	require.Contains(t, e.ErrOut, "measuring on postgres://")
	require.NotContains(t, e.ErrOut, "redis")
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
			dispatch(t, append([]string{"bench", "--messages", "20", "--warm-up", "5", "--runs", "1"}, flags...)...).OK(t)
		}
	}
	dispatch(t, "bench", "--load", "pigeon").Fails(t, 2, "single, batch, ndjson, nats")
	dispatch(t, "bench", "--scenario", "fast").Fails(t, 2, "fast")
	dispatch(t, "bench", "--runs", "0").Fails(t, 2, "1 or more")
	dispatch(t, "bench", "--senders", "0").Fails(t, 2, "1 or more")
	dispatch(t, "bench", "--stored", "-1").Fails(t, 2, "must not be negative")
	dispatch(t, "bench", "--messages", "100000000").Fails(t, 2, "or less")
	dispatch(t, "bench", "--retry-base", "2h").Fails(t, 2, "from 1ms to 1h")
	t.Setenv("NATS_URL", "ftp://nowhere")
	dispatch(t, "bench").Fails(t, 2, "NATS_URL")
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
