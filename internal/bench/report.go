package bench

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/mem"
)

// Report is what several runs of one scenario have measured, and on what.
type Report struct {
	Version  string   `json:"version"`
	Machine  string   `json:"machine"`
	Command  string   `json:"command"`
	Scenario string   `json:"scenario"`
	Load     string   `json:"load"`
	Messages int      `json:"messages"`
	Runs     []Result `json:"runs"`
}

// Machine describes this machine: figures mean little without it.
func Machine() string {
	parts := []string{fmt.Sprintf("%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())}
	if infos, err := cpu.Info(); err == nil && len(infos) > 0 {
		parts = append(parts, infos[0].ModelName)
	}
	if memory, err := mem.VirtualMemory(); err == nil {
		parts = append(parts, fmt.Sprintf("%.0f GiB of memory", float64(memory.Total)/(1<<30)))
	}
	return strings.Join(parts, "; ")
}

// Figures is a table of the runs: its first row has the titles, every other the
// median, the least and the most of a figure. There must be a run.
func (r Report) Figures() [][]string {
	f := figures{results: r.Runs, rows: [][]string{{"", "MEDIAN", "LEAST", "MOST"}}}
	first := r.Runs[0]
	addFigure(&f, "bare HTTP requests/s", "%.0f", func(r Result) float64 { return r.RawHTTP })
	addFigure(&f, fmt.Sprintf("bare inserts/s, %d connections", first.RawInsertConnections), "%.0f", func(r Result) float64 { return r.RawInserts })
	addFigure(&f, "delivered/s", "%.0f", func(r Result) float64 { return r.Delivered })
	addFigure(&f, "accepted/s", "%.0f", func(r Result) float64 { return r.Accepted })
	if first.Latency != nil {
		f.addTime("latency p50", func(r Result) Millis { return r.Latency.P50 })
		f.addTime("latency p99", func(r Result) Millis { return r.Latency.P99 })
	}
	if first.Lateness != nil {
		f.addTime("retry late, earliest", func(r Result) Millis { return r.Lateness.Least })
		f.addTime("retry late, median", func(r Result) Millis { return r.Lateness.P50 })
		f.addTime("retry late, latest", func(r Result) Millis { return r.Lateness.Most })
	}
	f.addTime("all states final after", func(r Result) Millis { return r.FinalAfter })
	addFigure(&f, "CPU ms/message", "%.3f", func(r Result) float64 { return r.CPUPerMessage })
	addFigure(&f, "repeated requests", "%d", func(r Result) int { return r.Repeated })
	for _, name := range slices.Sorted(maps.Keys(first.CPU)) {
		addFigure(&f, "CPU s, "+name, "%.2f", func(r Result) float64 { return r.CPU[name] })
	}
	for _, name := range slices.Sorted(maps.Keys(first.PeakMemory)) {
		addFigure(&f, "peak MiB, "+name, "%.0f", func(r Result) float64 { return float64(r.PeakMemory[name]) / (1 << 20) })
	}
	return f.rows
}

type figures struct {
	results []Result
	rows    [][]string
}

func (f *figures) addTime(name string, value func(Result) Millis) {
	addFigure(f, name, "%s", func(r Result) time.Duration { return time.Duration(value(r)).Round(10 * time.Microsecond) })
}

func addFigure[T cmp.Ordered](f *figures, name, format string, value func(Result) T) {
	values := make([]T, len(f.results))
	for i, r := range f.results {
		values[i] = value(r)
	}
	slices.Sort(values)
	show := func(value T) string { return fmt.Sprintf(format, value) }
	f.rows = append(f.rows, []string{name, show(values[len(values)/2]), show(values[0]), show(values[len(values)-1])})
}
