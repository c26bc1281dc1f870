package bench_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pipeline/bench"
	"github.com/message-dispatcher/dispatch/pkg/local/localtest"
)

// TestEveryLoadAndScenarioCounts measures a little in every way and checks
// that the books balance; how fast it was is no matter of a test.
func TestEveryLoadAndScenarioCounts(t *testing.T) {
	t.Parallel()
	base := bench.Options{
		Load: bench.LoadSingle, Messages: 60, Connections: 4, BatchSize: 10, WarmUp: 10, Concurrency: 8,
		Progress: func(int, int) {}, Log: zap.NewNop(),
	}
	for name, edit := range map[string]func(*bench.Options){
		"single":  func(*bench.Options) {},
		"batch":   func(o *bench.Options) { o.Load = bench.LoadBatch },
		"ndjson":  func(o *bench.Options) { o.Load = bench.LoadNDJSON },
		"nats":    func(o *bench.Options) { o.Load = bench.LoadNATS },
		"light":   func(o *bench.Options) { o.Rate = 100 },
		"slow":    func(o *bench.Options) { o.Delay = 5 * time.Millisecond },
		"failing": func(o *bench.Options) { o.FailFirst = true },
		"backlog": func(o *bench.Options) { o.Backlog = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := base
			options.Dir = localtest.Dir(t)
			edit(&options)
			result, err := bench.Run(t.Context(), options)
			require.NoError(t, err)
			require.Positive(t, result.Delivered)
			require.Positive(t, result.RawHTTP)
			_, err = json.Marshal(result)
			require.NoError(t, err, "every figure is a number")
			require.Positive(t, result.CPUPerMessage)
			require.Zero(t, result.Repeated)
			require.Contains(t, result.Samples[0].Memory, "postgres")
			requireAPage(t, result)
			if options.Load != bench.LoadNATS {
				counted := 0
				for _, bucket := range result.Latencies {
					counted += bucket.Count
				}
				require.Equal(t, options.Messages, counted)
				require.Positive(t, result.P50)
				require.GreaterOrEqual(t, result.Max, result.P99)
			}
		})
	}
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
