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
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// benchmark is a command line of bench.
type benchmark struct {
	options       bench.Options
	scenario      string
	runs          int
	profile, page string
	asJSON        bool
}

func newBench() *cobra.Command {
	b := benchmark{options: bench.Options{BatchSize: 100}}
	long := `Measures a whole installation: messages go in as a client sends them and are
counted where a webhook receives them. It needs nothing: servers are started for
it, with durable commits. With DATABASE_URL, NATS_URL or REDIS_URL set (or in
.env), as for every other command, your own servers are measured: in a database
and under a prefix of its own, which are removed afterwards. Nothing else that
the environment sets up counts. Scenarios:

`
	for _, s := range scenarios {
		long += fmt.Sprintf("  %-10s%s\n", s.name, s.what)
	}
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure how fast this machine, or your servers, get messages out", Long: long, GroupID: "run",
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
	f.StringVar(&o.Load, "load", bench.LoadSingle, "how messages go in: "+strings.Join(bench.Loads, ", "))
	f.IntVar(&o.Messages, "messages", 20_000, "how many")
	f.IntVar(&o.WarmUp, "warm-up", 2_000, "messages before them that do not count")
	f.IntVar(&o.Stored, "stored", 0, "finished messages that are stored before")
	f.IntVar(&o.Connections, "connections", 32, "connections of the load")
	f.IntVar(&o.Rate, "rate", 0, "messages a second; 0 for as many as are taken")
	f.IntVar(&o.Senders, "senders", 1, "how many senders")
	f.IntVar(&o.Concurrency, "concurrency", 64, "requests in flight, of each sender")
	f.DurationVar(&o.Delay, "delay", 0, "how long the webhook takes")
	f.DurationVar(&o.RetryBase, "retry-base", 200*time.Millisecond, "RETRY_BASE of the senders; from 20s on retries wait as schedules")
	f.BoolVar(&o.Apart, "apart", false, "run each service as a process of its own, so that what it uses shows")
	f.IntVar(&b.runs, "runs", 3, "how often; the median counts")
	f.StringVar(&o.Dir, "dir", "", "where data is kept meanwhile (default: the system's temporary directory)")
	f.StringVar(&b.profile, "cpuprofile", "", "write a CPU profile of this process here, for go tool pprof")
	f.StringVar(&b.page, "html", "", "write a page with plots here: latencies, throughput, CPU and memory of each program")
	f.BoolVar(&b.asJSON, "json", false, "print JSON")
}

func (b *benchmark) run(cmd *cobra.Command) (err error) {
	if err := b.apply(cmd.Flags().Changed); err != nil {
		return usage(err)
	}
	if b.options.Program, err = os.Executable(); err != nil {
		return err
	}
	b.options.Servers = readSettings(cmd)
	service.TuneMemory()
	if b.profile != "" {
		file, err := os.Create(b.profile)
		if err != nil {
			return usage(err)
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	watch := &runWatch{out: cmd.ErrOrStderr()}
	b.options.Progress = watch.set
	b.options.Notice = watch.say
	results, err := b.measure(cmd.Context(), watch)
	watch.end()
	if err != nil {
		return err
	}
	report := newReport(b, results)
	if b.page != "" {
		if err := writePage(b.page, report); err != nil {
			return err
		}
	}
	return show(cmd.OutOrStdout(), b.asJSON, report, func(t *table) { fillResults(t, results) })
}

func (b *benchmark) measure(ctx context.Context, watch *runWatch) (results []bench.Result, err error) {
	place, err := bench.Open(ctx, b.options)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, place.Close(ctx)) }()
	for i := range b.runs {
		watch.name = fmt.Sprintf("run %d of %d: ", i+1, b.runs)
		result, err := place.Run(ctx)
		if err != nil {
			return nil, fmt.Errorf("run %d: %w", i+1, err)
		}
		results = append(results, result)
	}
	return results, nil
}
