package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/message-dispatcher/dispatch/internal/provision"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// run is one measurement in progress.
type run struct {
	bench    *Bench
	options  Options
	database string // its address
	topology events.Topology
	receiver *receiver
	ports    ports
	api      string
	client   *http.Client // for questions
	names    sync.Map     // what processes of ours are called: int32 → string
}

// Run measures once: in a fresh database, under a fresh prefix, with services
// that are started for it. What it made is removed again when it returns,
// also after an error; if that does not work, the error names what is left.
func (b *Bench) Run(ctx context.Context) (_ Result, err error) {
	debug.FreeOSMemory() // what the run before has left is not this one's
	name := suffix()
	r := &run{
		bench: b, options: b.options, client: &http.Client{Timeout: 60 * time.Second},
		topology: events.NewTopology("dispatch-bench-"+name, b.nats.Replicas),
	}
	undo := []func(context.Context) error{func(context.Context) error { r.ports.close(); return nil }}
	defer func() { err = errors.Join(err, undoAll(ctx, undo)) }()

	if r.receiver, err = startReceiver(ctx, r.options); err != nil {
		return Result{}, err
	}
	undo = append(undo, func(context.Context) error { return r.receiver.close() })
	at, removeDatabase, err := b.createDatabase(ctx, databasePrefix+name)
	undo = append(undo, removeDatabase)
	if err != nil {
		return Result{}, err
	}
	r.database = at
	undo = append(undo, func(ctx context.Context) error { return b.removeStreams(ctx, r.topology) })
	if err := b.createStreams(ctx, r.topology); err != nil {
		return Result{}, err
	}
	if b.stack.RedisURL != "" {
		undo = append(undo, func(ctx context.Context) error { return removeKeys(ctx, b.stack.RedisURL, r.topology.Prefix()) })
	}
	if err := r.provision(ctx); err != nil {
		return Result{}, err
	}
	return r.within(ctx)
}

func (r *run) provision(ctx context.Context) error {
	cfg, err := settings.Parse[provision.Config](settings.Environment{
		"DATABASE_URL": r.database, "NATS_URL": r.bench.stack.NATSURL, "PREFIX": r.topology.Prefix(),
		"NATS_REPLICAS": fmt.Sprint(r.bench.nats.Replicas), "PROCESSING_INTERVAL": "0",
	})
	if err != nil {
		return err
	}
	return provision.Run(ctx, cfg, r.options.Log)
}

// within starts the services, measures, and stops them.
func (r *run) within(ctx context.Context) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	group, ended, err := r.startServices(ctx)
	if err != nil {
		return Result{}, err
	}
	stopped := make(chan error, 1)
	go func() {
		err := <-ended // a service that ends by itself ends the measurement
		cancel(err)
		stopped <- err
	}()
	result, err := r.measure(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	group.Stop()
	return result, errors.Join(err, <-stopped)
}

func (r *run) measure(ctx context.Context) (result Result, err error) {
	if result.RawHTTP, err = r.receiver.raw(ctx, r.options); err != nil {
		return Result{}, err
	}
	result.RawInsertConnections = r.options.insertConnections()
	if result.RawInserts, err = rawInserts(ctx, r.database, r.options); err != nil {
		return Result{}, err
	}
	if r.options.WarmUp > 0 {
		warm := portion{first: r.options.Messages, count: r.options.WarmUp}
		if err := r.once(ctx, warm, 0, &Result{}); err != nil {
			return Result{}, fmt.Errorf("warm up: %w", err)
		}
	}
	meter := r.startMeter(ctx)
	err = r.once(ctx, portion{count: r.options.Messages}, r.options.Rate, &result)
	meter.stop(&result)
	if err != nil {
		return Result{}, err
	}
	result.CPUPerMessage *= 1000 / float64(r.options.Messages)
	result.Repeated = r.receiver.repeated()
	err = r.lateness(ctx, &result)
	return result, err
}

// stallLimit is how long nothing may arrive while something is on its way.
const stallLimit = time.Minute

// followEvery is how often a person is told how far it is.
const followEvery = 100 * time.Millisecond

// once puts the messages in and waits until the last of them is final.
func (r *run) once(ctx context.Context, all portion, rate int, result *Result) error {
	if r.options.Backlog {
		if err := r.control(ctx, "stop"); err != nil {
			return err
		}
	}
	r.receiver.expect(all)
	defer r.follow(all)()
	due := make([]time.Time, all.count)
	began := time.Now()
	if err := r.load(ctx, all, rate, due); err != nil {
		return err
	}
	accepting := time.Since(began)
	if r.options.Backlog {
		began = time.Now()
		if err := r.control(ctx, "start"); err != nil {
			return err
		}
	}
	if err := r.receiver.await(ctx, stallLimit+2*r.options.RetryBase); err != nil {
		return err
	}
	last := r.receiver.last()
	if err := r.awaitFinal(ctx); err != nil {
		return err
	}
	result.Delivered = float64(all.count) / last.Sub(began).Seconds()
	result.Accepted = float64(all.count) / accepting.Seconds()
	result.FinalAfter = Millis(time.Since(last))
	if !r.options.Backlog {
		took := r.receiver.took(due)
		result.Latency, result.Latencies = spreadOf(took), histogram(took)
	}
	return nil
}

// follow tells how far it is, from now on until the returned function is
// called.
func (r *run) follow(all portion) (end func()) {
	what := "delivered"
	if all.first > 0 {
		what = "warm-up"
	}
	var follower sync.WaitGroup
	ended := make(chan struct{})
	follower.Go(func() {
		ticks := time.NewTicker(followEvery)
		defer ticks.Stop()
		for {
			r.options.Progress(what, r.receiver.count(), all.count)
			select {
			case <-ended:
				return
			case <-ticks.C:
			}
		}
	})
	return func() { close(ended); follower.Wait() }
}

// awaitFinal waits until no message is on its way any more.
func (r *run) awaitFinal(ctx context.Context) error {
	for {
		var overview message.Overview
		if err := r.ask(ctx, http.MethodGet, "status", &overview); err != nil {
			return err
		}
		if overview.Counts[message.Pending]+overview.Counts[message.Queued]+overview.Counts[message.Retrying] == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *run) control(ctx context.Context, verb string) error {
	return r.ask(ctx, http.MethodPost, verb, &message.Overview{})
}

// ask makes a request about the pace.
func (r *run) ask(ctx context.Context, method, what string, answer *message.Overview) error {
	request, err := http.NewRequestWithContext(ctx, method, r.api+"/api/v1/messaging/"+what, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", contentJSON)
	response, err := r.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask for %s: %w", what, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ask for %s: %s", what, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

// lateness compares when second requests came with when the events say that
// they were to come.
func (r *run) lateness(ctx context.Context, result *Result) error {
	if !r.options.FailFirst {
		return nil
	}
	promised, err := r.promises(ctx)
	if err != nil {
		return err
	}
	var late []time.Duration
	for id, at := range r.receiver.seconds() {
		if due, ok := promised[id]; ok {
			late = append(late, at.Sub(due))
		}
	}
	slices.Sort(late)
	result.Lateness = spreadOf(late)
	return nil
}
