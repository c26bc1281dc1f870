package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pipeline/bench"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// scenario is a named set of options.
type scenario struct {
	name, what string
	set        func(*bench.Options)
}

var scenarios = []scenario{
	{"saturate", "as many as it takes", func(*bench.Options) {}},
	{"light", "50 messages a second: how long is one on its way", func(o *bench.Options) { o.Rate, o.Messages = 50, min(o.Messages, 1000) }},
	{"slow", "the webhook takes 50 ms", func(o *bench.Options) { o.Delay, o.Concurrency = 50*time.Millisecond, 512 }},
	{"failing", "every message fails once", func(o *bench.Options) { o.FailFirst = true }},
	{"backlog", "all are stored before the first is emitted", func(o *bench.Options) { o.Backlog = true }},
}

func newBench() *cobra.Command {
	var name, profile, page string
	var runs int
	var asJSON bool
	options := bench.Options{Connections: 32, BatchSize: 100, WarmUp: 2000, Log: zap.NewNop()}
	long := "Measures a whole installation on this machine: messages go in as a client sends\nthem and are counted where a webhook receives them. Everything runs in this\nprocess, on servers of its own and with durable commits. Scenarios:\n\n"
	for _, s := range scenarios {
		long += fmt.Sprintf("  %-10s%s\n", s.name, s.what)
	}
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure how fast this machine gets messages out", Long: long, GroupID: "run",
		Example: `  dispatch bench
  dispatch bench --scenario light --runs 5
  dispatch bench --load batch --messages 50000
  dispatch bench --html bench.html`,
	}
	f := cmd.Flags()
	f.StringVar(&name, "scenario", "saturate", "what to measure")
	f.StringVar(&options.Load, "load", bench.LoadSingle, "how messages go in: "+strings.Join(bench.Loads, ", "))
	f.IntVar(&options.Messages, "messages", 20_000, "how many")
	f.IntVar(&options.Connections, "connections", options.Connections, "connections of the load")
	f.IntVar(&options.Concurrency, "concurrency", 64, "requests of the sender in flight")
	f.IntVar(&runs, "runs", 3, "how often; the median counts")
	f.StringVar(&options.Dir, "dir", "", "where data is kept meanwhile (default: the system's temporary directory)")
	f.StringVar(&profile, "cpuprofile", "", "write a CPU profile of this process here, for go tool pprof")
	f.StringVar(&page, "html", "", "write a page with plots here: latencies, throughput, CPU and memory of each program")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		at := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if at < 0 {
			return usage(fmt.Errorf("no scenario %q; see --help", name))
		}
		if !slices.Contains(bench.Loads, options.Load) {
			return usage(fmt.Errorf("no load %q: %s", options.Load, strings.Join(bench.Loads, ", ")))
		}
		if runs < 1 || options.Messages < 1 || options.Connections < 1 {
			return usage(errors.New("--runs, --messages and --connections must be 1 or more"))
		}
		scenarios[at].set(&options)
		service.TuneMemory()
		if profile != "" {
			file, err := os.Create(profile)
			if err != nil {
				return usage(err)
			}
			defer file.Close()
			if err := pprof.StartCPUProfile(file); err != nil {
				return err
			}
			defer pprof.StopCPUProfile()
		}
		results, err := measure(cmd.Context(), options, runs, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if page != "" {
			if err := writePage(page, results); err != nil {
				return err
			}
		}
		return show(cmd.OutOrStdout(), asJSON, results, func(t *table) { fillResults(t, results) })
	}
	return cmd
}

func measure(ctx context.Context, options bench.Options, runs int, progress io.Writer) ([]bench.Result, error) {
	var results []bench.Result
	for i := range runs {
		watch := watchRun(progress, fmt.Sprintf("run %d of %d", i+1, runs), options.Messages)
		options.Progress = watch.set
		result, err := bench.Run(ctx, options)
		watch.end()
		if err != nil {
			return nil, fmt.Errorf("run %d: %w", i+1, err)
		}
		results = append(results, result)
	}
	return results, nil
}

// runWatch shows how far a run is: as a bar on a terminal, else as a line a
// second.
type runWatch struct {
	out  io.Writer
	name string
	bar  *progressbar.ProgressBar // nil unless somebody watches
	last time.Time
}

func watchRun(out io.Writer, name string, messages int) *runWatch {
	w := &runWatch{out: out, name: name, last: time.Now()}
	if isTerminal(out) {
		w.bar = progressbar.NewOptions(messages,
			progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(name), progressbar.OptionFullWidth(),
			progressbar.OptionClearOnFinish(), progressbar.OptionShowCount(), progressbar.OptionUseANSICodes(coloured(out)))
	}
	return w
}

func (w *runWatch) set(done, of int) {
	if w.bar != nil {
		_ = w.bar.Set(done) // a bar that can't be drawn is no reason to stop
		return
	}
	if time.Since(w.last) > time.Second {
		w.last = time.Now()
		fmt.Fprintf(w.out, "%s: %d of %d delivered\n", w.name, done, of)
	}
}

func (w *runWatch) end() {
	if w.bar != nil {
		_ = w.bar.Finish() // as above
	}
}

// fillResults shows median, least and most of each figure.
func fillResults(t *table, results []bench.Result) {
	t.head("", "MEDIAN", "LEAST", "MOST")
	fillFigure(t, "bare HTTP requests/s", "%.0f", results, func(r bench.Result) float64 { return r.RawHTTP })
	fillFigure(t, "delivered/s", "%.0f", results, func(r bench.Result) float64 { return r.Delivered })
	fillFigure(t, "accepted/s", "%.0f", results, func(r bench.Result) float64 { return r.Accepted })
	fillFigure(t, "p50", "%s", results, func(r bench.Result) time.Duration { return r.P50.Round(10 * time.Microsecond) })
	fillFigure(t, "p99", "%s", results, func(r bench.Result) time.Duration { return r.P99.Round(10 * time.Microsecond) })
	fillFigure(t, "all states final after", "%s", results, func(r bench.Result) time.Duration { return r.FinalAfter.Round(time.Millisecond) })
	fillFigure(t, "CPU ms/message", "%.3f", results, func(r bench.Result) float64 { return r.CPUPerMessage })
	fillFigure(t, "repeated requests", "%d", results, func(r bench.Result) int { return r.Repeated })
	for name := range results[0].CPU {
		fillFigure(t, "CPU s "+name, "%.2f", results, func(r bench.Result) float64 { return r.CPU[name] })
	}
}

func fillFigure[T cmp.Ordered](t *table, name, format string, results []bench.Result, value func(bench.Result) T) {
	values := make([]T, len(results))
	for i, r := range results {
		values[i] = value(r)
	}
	slices.Sort(values)
	figure := func(value T) string { return fmt.Sprintf(format, value) }
	t.row(name, figure(values[len(values)/2]), figure(values[0]), figure(values[len(values)-1]))
}
