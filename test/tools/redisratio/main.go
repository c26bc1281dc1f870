// Command redisratio measures how much of its throughput the pipeline keeps while
// Redis is flushed every second, frozen, or dead, compared with a Redis that works.
// Each round measures every case once, so that a machine that becomes slower
// affects all of them:
//
//	go run ./test/tools/redisratio -rounds 5
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/message-dispatcher/dispatch/internal/bench"
	"github.com/message-dispatcher/dispatch/pkg/embedded/redis"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// cases are the faults of Redis during a run. The returned function ends the fault.
var cases = []struct {
	name  string
	spoil func(context.Context, *server) (mend func() error, err error)
}{
	{"there", func(context.Context, *server) (func() error, error) { return func() error { return nil }, nil }},
	{"flushed", flushed},
	{"frozen", frozen},
	{"dead", dead},
}

func main() {
	rounds := flag.Int("rounds", 5, "how often each case is measured")
	messages := flag.Int("messages", 10_000, "messages of a run")
	flag.Parse()
	if err := run(context.Background(), *rounds, *messages); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(ctx context.Context, rounds, messages int) (err error) {
	dir, err := os.MkdirTemp("", "redisratio-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o711); err != nil { // servers that root starts run as others
		return err
	}
	s := &server{config: redis.Config{Dir: filepath.Join(dir, "redis")}}
	if err := s.start(ctx); err != nil {
		return err
	}
	defer func() { _ = s.Stop(ctx) }()
	place, err := bench.Open(ctx, bench.Options{
		Load: bench.LoadSingle, Messages: messages, WarmUp: messages / 10, Connections: 32, Concurrency: 64,
		Servers: settings.Environment{"REDIS_URL": s.URL()}, Dir: dir,
	})
	if err != nil {
		return err
	}
	defer func() { _ = place.Close(ctx) }()

	rates := make([][]float64, len(cases))
	for round := range rounds {
		for n := range cases {
			at := (n + round) % len(cases) // none is always the first
			rate, err := measure(ctx, place, s, at)
			if err != nil {
				return fmt.Errorf("Redis %s: %w", cases[at].name, err)
			}
			rates[at] = append(rates[at], rate)
			fmt.Fprintf(os.Stdout, "round %d, Redis %-8s %6.0f/s\n", round+1, cases[at].name, rate)
		}
	}
	whole := median(rates[0])
	for n, c := range cases {
		fmt.Fprintf(os.Stdout, "Redis %-8s median %6.0f/s, %3.0f %%\n", c.name, median(rates[n]), 100*median(rates[n])/whole)
	}
	return nil
}

func measure(ctx context.Context, place *bench.Bench, s *server, at int) (float64, error) {
	mend, err := cases[at].spoil(ctx, s)
	if err != nil {
		return 0, err
	}
	result, failed := place.Run(ctx)
	if err := mend(); err != nil {
		return 0, err
	}
	if result.Delivered == 0 { // else it is that its keys can't be removed while Redis is away
		return 0, failed
	}
	return result.Delivered, nil
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// server is a Redis that comes back under the same address.
type server struct {
	*redis.Server
	config redis.Config
}

func (s *server) start(ctx context.Context) (err error) {
	s.Server, err = redis.Start(ctx, s.config)
	if err == nil {
		s.config.Port = s.Port()
	}
	return err
}

func flushed(ctx context.Context, s *server) (func() error, error) {
	options, err := goredis.ParseURL(s.URL())
	if err != nil {
		return nil, err
	}
	client := goredis.NewClient(options)
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		for err := error(nil); ; {
			select {
			case <-ctx.Done():
				ended <- err
				return
			case <-time.After(time.Second):
				err = client.FlushAll(context.WithoutCancel(ctx)).Err()
			}
		}
	}()
	return func() error {
		stop()
		defer client.Close()
		return <-ended
	}, nil
}

func frozen(_ context.Context, s *server) (func() error, error) {
	return func() error { return syscall.Kill(s.Pid(), syscall.SIGCONT) }, syscall.Kill(s.Pid(), syscall.SIGSTOP)
}

func dead(ctx context.Context, s *server) (func() error, error) {
	if err := syscall.Kill(s.Pid(), syscall.SIGKILL); err != nil {
		return nil, err
	}
	<-s.Done()
	_ = s.Stop(ctx) // gives its directory free
	return func() error { return s.start(ctx) }, nil
}
