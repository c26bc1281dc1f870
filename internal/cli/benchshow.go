package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/message-dispatcher/dispatch/internal/bench"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// report is what bench prints as JSON.
type report struct {
	Version  string         `json:"version"`
	Machine  string         `json:"machine"`
	Command  string         `json:"command"`
	Scenario string         `json:"scenario"`
	Load     string         `json:"load"`
	Messages int            `json:"messages"`
	Runs     []bench.Result `json:"runs"`
}

func newReport(b *benchmark, results []bench.Result) report {
	return report{
		Version: service.Version(), Machine: machine(), Command: strings.Join(append([]string{"dispatch"}, os.Args[1:]...), " "),
		Scenario: b.scenario, Load: b.options.Load, Messages: b.options.Messages, Runs: results,
	}
}

// fillResults shows median, least and most of each figure.
func fillResults(t *table, results []bench.Result) {
	t.head("", "MEDIAN", "LEAST", "MOST")
	fillFigure(t, "bare HTTP requests/s", "%.0f", results, func(r bench.Result) float64 { return r.RawHTTP })
	fillFigure(t, fmt.Sprintf("bare inserts/s, %d connections", results[0].RawInsertConnections), "%.0f", results,
		func(r bench.Result) float64 { return r.RawInserts })
	fillFigure(t, "delivered/s", "%.0f", results, func(r bench.Result) float64 { return r.Delivered })
	fillFigure(t, "accepted/s", "%.0f", results, func(r bench.Result) float64 { return r.Accepted })
	if results[0].Latency != nil {
		fillTime(t, "latency p50", results, func(r bench.Result) bench.Millis { return r.Latency.P50 })
		fillTime(t, "latency p99", results, func(r bench.Result) bench.Millis { return r.Latency.P99 })
	}
	if results[0].Lateness != nil {
		fillTime(t, "retry late, earliest", results, func(r bench.Result) bench.Millis { return r.Lateness.Least })
		fillTime(t, "retry late, median", results, func(r bench.Result) bench.Millis { return r.Lateness.P50 })
		fillTime(t, "retry late, latest", results, func(r bench.Result) bench.Millis { return r.Lateness.Most })
	}
	fillTime(t, "all states final after", results, func(r bench.Result) bench.Millis { return r.FinalAfter })
	fillFigure(t, "CPU ms/message", "%.3f", results, func(r bench.Result) float64 { return r.CPUPerMessage })
	fillFigure(t, "repeated requests", "%d", results, func(r bench.Result) int { return r.Repeated })
	for _, name := range slices.Sorted(maps.Keys(results[0].CPU)) {
		fillFigure(t, "CPU s, "+name, "%.2f", results, func(r bench.Result) float64 { return r.CPU[name] })
	}
	for _, name := range slices.Sorted(maps.Keys(results[0].PeakMemory)) {
		fillFigure(t, "peak MiB, "+name, "%.0f", results, func(r bench.Result) float64 { return float64(r.PeakMemory[name]) / (1 << 20) })
	}
}

func fillTime(t *table, name string, results []bench.Result, value func(bench.Result) bench.Millis) {
	fillFigure(t, name, "%s", results, func(r bench.Result) time.Duration { return time.Duration(value(r)).Round(10 * time.Microsecond) })
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

// runWatch shows how far a run is: as a bar on a terminal, else as a line a
// second.
type runWatch struct {
	out  io.Writer
	name string // which run
	what string // what is done at the moment
	bar  *progressbar.ProgressBar
	last time.Time
}

// set takes one call at a time.
func (w *runWatch) set(what string, done, of int) {
	if !isTerminal(w.out) {
		if time.Since(w.last) > time.Second {
			w.last = time.Now()
			fmt.Fprintf(w.out, "%s%d of %d %s\n", w.name, done, of, what)
		}
		return
	}
	if w.bar == nil || w.what != w.name+what {
		w.end()
		w.what = w.name + what
		w.bar = progressbar.NewOptions(of,
			progressbar.OptionSetWriter(w.out), progressbar.OptionSetDescription(w.what), progressbar.OptionFullWidth(),
			progressbar.OptionClearOnFinish(), progressbar.OptionShowCount(), progressbar.OptionUseANSICodes(coloured(w.out)))
	}
	_ = w.bar.Set(done) // a bar that can't be drawn is no reason to stop
}

// say prints a line that is to stay.
func (w *runWatch) say(line string) {
	w.end()
	fmt.Fprintln(w.out, line)
}

func (w *runWatch) end() {
	if w.bar != nil {
		_ = w.bar.Finish() // as above
		w.bar = nil
	}
}
