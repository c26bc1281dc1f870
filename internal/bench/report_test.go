package bench_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/bench"
)

func TestAReportShowsMedianLeastAndMost(t *testing.T) {
	t.Parallel()
	run := func(delivered float64) bench.Result {
		return bench.Result{
			Delivered: delivered, CPU: map[string]float64{"postgres": delivered / 100}, PeakMemory: map[string]uint64{"postgres": uint64(delivered) << 20},
			Lateness: &bench.Spread{Least: bench.Millis(-time.Millisecond), Most: bench.Millis(delivered * float64(time.Millisecond))},
		}
	}
	rows := map[string][]string{}
	for _, row := range (bench.Report{Runs: []bench.Result{run(300), run(100), run(200)}}).Figures() {
		rows[row[0]] = row[1:]
	}
	require.Equal(t, []string{"200", "100", "300"}, rows["delivered/s"])
	require.Equal(t, []string{"2.00", "1.00", "3.00"}, rows["CPU s, postgres"])
	require.Equal(t, []string{"200", "100", "300"}, rows["peak MiB, postgres"])
	require.Equal(t, []string{"-1ms", "-1ms", "-1ms"}, rows["retry late, earliest"])
	require.Equal(t, []string{"200ms", "100ms", "300ms"}, rows["retry late, latest"])
	require.NotContains(t, rows, "latency p50", "there is none")
}
