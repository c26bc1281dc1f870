package bench

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/internal/up"
	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/dispatcher"
	"github.com/message-dispatcher/dispatch/services/ingest"
	"github.com/message-dispatcher/dispatch/services/sender"
)

const (
	webhookTimeout = 30 * time.Second
	drainTimeout   = 75 * time.Second // as services have by default
)

// unit is a service of the installation that is measured.
type unit struct {
	service string // what the dispatch command calls it
	name    string // which one it is
	url     string // where it says how it is
	env     settings.Environment
}

// units are all services, in the order in which they start; they stop the
// other way round, so that what was taken in is still finished.
func (r *run) units() ([]unit, error) {
	common := settings.Environment{
		"DATABASE_URL": r.database, "NATS_URL": r.bench.stack.NATSURL, "REDIS_URL": r.bench.stack.RedisURL,
		"NATS_REPLICAS": fmt.Sprint(r.bench.nats.Replicas), "PREFIX": r.topology.Prefix(),
		"SHUTDOWN_TIMEOUT": drainTimeout.String(), "WEBHOOK_TIMEOUT": webhookTimeout.String(),
		"LOG_LEVEL": "warn", "LOG_FORMAT": "json",
	}
	var units []unit
	add := func(what, name, addrVariable string, given settings.Environment) error {
		addr, err := r.ports.addr()
		if err != nil {
			return err
		}
		env := maps.Clone(common)
		maps.Copy(env, given)
		env[addrVariable] = addr
		units = append(units, unit{what, name, "http://" + addr, env})
		return nil
	}
	if err := add("dispatcher", "dispatcher", "HEALTH_ADDR", nil); err != nil {
		return nil, err
	}
	for i := range r.options.Senders {
		name := "sender"
		if r.options.Senders > 1 {
			name = fmt.Sprintf("sender %d", i+1)
		}
		if err := add("sender", name, "HEALTH_ADDR", settings.Environment{
			"WEBHOOK_URL": r.receiver.url, "SENDER_CONCURRENCY": fmt.Sprint(r.options.Concurrency),
			"RETRY_BASE": r.options.RetryBase.String(),
		}); err != nil {
			return nil, err
		}
	}
	err := add("ingest", "ingest", "HTTP_ADDR", nil)
	return units, err
}

// startServices starts everything and returns when all of it is ready. The
// returned group has stopped once its Stop returns; ended is told if it stops
// before.
func (r *run) startServices(ctx context.Context) (*service.Group, <-chan error, error) {
	units, err := r.units()
	if err != nil {
		return nil, nil, err
	}
	r.api = units[len(units)-1].url
	group := service.NewGroup(r.options.Log, time.Duration(len(units))*drainTimeout, nil)
	for _, u := range units {
		group.Go(u.name, func(ctx context.Context) error {
			if r.options.Apart {
				return r.runApart(ctx, u)
			}
			return r.runHere(ctx, u)
		})
	}
	ended := make(chan error, 1)
	go func() { ended <- group.Wait(ctx) }()
	for _, u := range units {
		if err := ready(ctx, u.url, ended); err != nil {
			group.Stop()
			return nil, nil, fmt.Errorf("start services: %w", err)
		}
	}
	return group, ended, nil
}

func (r *run) runHere(ctx context.Context, u unit) error {
	log := r.options.Log.Named(u.name)
	switch u.service {
	case "dispatcher":
		return runParsed(ctx, u.env, log, dispatcher.Run)
	case "sender":
		return runParsed(ctx, u.env, log, sender.Run)
	}
	return runParsed(ctx, u.env, log, ingest.Run)
}

func runParsed[T any](ctx context.Context, env settings.Environment, log *zap.Logger, run func(context.Context, T, *zap.Logger) error) error {
	cfg, err := settings.Parse[T](env)
	if err != nil {
		return err
	}
	return run(ctx, cfg, log)
}

// runApart runs a service as a process of its own until ctx ends.
func (r *run) runApart(ctx context.Context, u unit) error {
	said := &tail{}
	p, err := process.Start(process.Config{
		Path: r.options.Program, Args: []string{u.service}, Env: childEnvironment(u.env), Output: said, Grace: drainTimeout,
	})
	if err != nil {
		return err
	}
	r.names.Store(int32(p.Pid()), u.name)
	select {
	case <-ctx.Done():
		return p.Stop(context.WithoutCancel(ctx))
	case <-p.Done():
		return fmt.Errorf("%w\n%s", p.Err(), said)
	}
}

// childEnvironment is ours, in which a driver or Go may find what it looks
// for, without anything that would set up a service.
func childEnvironment(of settings.Environment) []string {
	env := settings.Environment{}
	for _, line := range os.Environ() {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	for _, setting := range settings.Describe(up.Config{}) {
		delete(env, setting.Name)
	}
	maps.Copy(env, of)
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		lines = append(lines, name+"="+env[name])
	}
	return lines
}

// tail keeps the end of what a process says.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailKept = 4 << 10

func (t *tail) Write(said []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, said...)
	t.text = t.text[max(len(t.text)-tailKept, 0):]
	return len(said), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}

// ready waits until a service says that it is.
func ready(ctx context.Context, url string, ended <-chan error) error {
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health/ready", http.NoBody)
		if err != nil {
			return err
		}
		if response, err := client.Do(request); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-ended:
			return cmp.Or(err, context.Cause(ctx), context.Canceled)
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
	}
}
