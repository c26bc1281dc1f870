package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/bench"
	"github.com/message-dispatcher/dispatch/internal/cli/environment"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// benchmark is the flags of bench.
type benchmark struct {
	options       bench.Options
	scenario      string
	runs          int
	profile, page string
	asJSON        bool
}

func newBench() *cobra.Command {
	b := benchmark{options: bench.Options{BatchSize: 100}}
	long := `Measures a whole installation: a load sends messages as clients do, and a webhook
receiver counts them. It needs no setup: it starts its own servers, with durable
commits. If DATABASE_URL, NATS_URL or REDIS_URL is set (or in .env), it measures
your servers, in a database and under a prefix of its own, which it removes
afterwards. It ignores all other settings. Scenarios:

`
	for _, s := range bench.Scenarios {
		long += fmt.Sprintf("  %-10s%s\n", s.Name, s.What)
	}
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure the throughput and latency of this machine or of your servers", Long: long, GroupID: "run",
		Example: `  dispatch bench
  dispatch bench --scenario light --runs 5
  dispatch bench --load batch --messages 50000 --html bench.html
  dispatch bench --apart --senders 4 --stored 1000000
  DATABASE_URL=postgres://… NATS_URL=nats://… dispatch bench`,
	}
	b.addFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return b.run(cmd) }
	return cmd
}

func (b *benchmark) addFlags(cmd *cobra.Command) {
	f, o := cmd.Flags(), &b.options
	f.StringVar(&b.scenario, "scenario", "saturate", "what to measure")
	f.StringVar(&o.Load, "load", bench.LoadSingle, "how messages are sent: "+strings.Join(bench.Loads, ", "))
	f.IntVar(&o.Messages, "messages", 20_000, "messages to measure")
	f.IntVar(&o.WarmUp, "warm-up", 2_000, "messages before those, which do not count")
	f.IntVar(&o.Stored, "stored", 0, "finished messages that the database already has")
	f.IntVar(&o.Connections, "connections", 32, "connections of the load")
	f.IntVar(&o.Rate, "rate", 0, "messages per second; 0: as many as are accepted")
	f.IntVar(&o.Senders, "senders", 1, "number of senders")
	f.IntVar(&o.Concurrency, "concurrency", 64, "requests in flight per sender")
	f.DurationVar(&o.Delay, "delay", 0, "response time of the webhook")
	f.DurationVar(&o.RetryBase, "retry-base", 200*time.Millisecond, "RETRY_BASE of the senders; from 20s on retries wait as schedules")
	f.BoolVar(&o.Apart, "apart", false, "run each service in its own process, to measure its CPU and memory")
	f.IntVar(&b.runs, "runs", 3, "number of runs; the median counts")
	f.StringVar(&o.Dir, "dir", "", "directory for the data of a run (default: the system's temporary directory)")
	f.StringVar(&b.profile, "cpuprofile", "", "file for a CPU profile of this process, for go tool pprof")
	f.StringVar(&b.page, "html", "", "file for a page with plots: latencies, throughput, CPU and memory of each program")
	f.BoolVar(&b.asJSON, "json", false, "print JSON")
}

func (b *benchmark) run(cmd *cobra.Command) (err error) {
	if err := b.apply(cmd.Flags().Changed); err != nil {
		return exit.Usage(err)
	}
	if b.options.Program, err = os.Executable(); err != nil {
		return err
	}
	b.options.Servers = environment.Read(cmd)
	service.TuneMemory()
	if b.profile != "" {
		file, err := os.Create(b.profile)
		if err != nil {
			return exit.Usage(err)
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	watch := &output.Progress{Out: cmd.ErrOrStderr()}
	b.options.Progress = watch.Set
	b.options.Notice = watch.Say
	results, err := b.measure(cmd.Context(), watch)
	watch.End()
	if err != nil {
		return err
	}
	report := bench.Report{
		Version: service.Version(), Machine: bench.Machine(), Command: strings.Join(append([]string{"dispatch"}, os.Args[1:]...), " "),
		Scenario: b.scenario, Load: b.options.Load, Messages: b.options.Messages, Runs: results,
	}
	if b.page != "" {
		if err := writePage(b.page, report); err != nil {
			return err
		}
	}
	return output.Show(cmd.OutOrStdout(), b.asJSON, report, func(t *output.Table) { fillFigures(t, report.Figures()) })
}

// apply applies the scenario. A flag that is given overrides it.
func (b *benchmark) apply(changed func(flag string) bool) error {
	scenario, err := bench.FindScenario(b.scenario)
	if err != nil {
		return err
	}
	o, given := &b.options, b.options
	scenario.Apply(o)
	for flag, restore := range map[string]func(){
		"messages":    func() { o.Messages = given.Messages },
		"warm-up":     func() { o.WarmUp = given.WarmUp },
		"rate":        func() { o.Rate = given.Rate },
		"concurrency": func() { o.Concurrency = given.Concurrency },
		"delay":       func() { o.Delay = given.Delay },
	} {
		if changed(flag) {
			restore()
		}
	}
	if b.runs < 1 {
		return errors.New("--runs must be 1 or more")
	}
	return o.Validate()
}

func (b *benchmark) measure(ctx context.Context, watch *output.Progress) (results []bench.Result, err error) {
	place, err := bench.Open(ctx, b.options)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, place.Close(ctx)) }()
	for i := range b.runs {
		watch.Name = fmt.Sprintf("run %d of %d: ", i+1, b.runs)
		result, err := place.Run(ctx)
		if err != nil {
			return nil, fmt.Errorf("run %d: %w", i+1, err)
		}
		results = append(results, result)
	}
	return results, nil
}

func fillFigures(t *output.Table, figures [][]string) {
	t.Head(figures[0]...)
	for _, row := range figures[1:] {
		t.Row(row[0], row[1], row[2], row[3])
	}
}

// writePage writes a page of plots to a file.
func writePage(path string, r bench.Report) error {
	page := bench.Page{
		Title: "Message Dispatcher " + r.Version, Machine: r.Machine, Command: r.Command,
		Results: r.Runs, Figures: r.Figures(),
	}
	file, err := os.Create(path)
	if err != nil {
		return exit.Usage(fmt.Errorf("write page: %w", err))
	}
	if err := page.Write(file); err != nil {
		_ = file.Close() // the first error is the one to report
		return err
	}
	return file.Close()
}
