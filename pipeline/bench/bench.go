package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pipeline"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// Options say what to measure.
type Options struct {
	Load        string // one of Loads
	Messages    int
	Connections int           // of the load
	BatchSize   int           // of LoadBatch; LoadNDJSON sends ten times as many at once
	Rate        int           // messages a second; 0: as fast as they are taken
	Delay       time.Duration // of the webhook
	FailFirst   bool          // every message fails once
	Backlog     bool          // all messages are stored before the first is emitted
	WarmUp      int           // messages that are not counted
	Concurrency int           // of the sender
	Dir         string        // where the embedded servers keep their data
	Progress    func(done, of int)
	Log         *zap.Logger
}

// Result is what one run came to.
type Result struct {
	Delivered  float64       `json:"deliveredPerSecond"`
	Accepted   float64       `json:"acceptedPerSecond"`
	P50        time.Duration `json:"p50"`
	P99        time.Duration `json:"p99"`
	Max        time.Duration `json:"max"`
	FinalAfter time.Duration `json:"finalAfter"` // from the last arrival until every state was final in Postgres
	// CPUPerMessage is in milliseconds, of everything: servers, services, load and receiver.
	CPUPerMessage float64            `json:"cpuMillisecondsPerMessage"`
	CPU           map[string]float64 `json:"cpuSeconds"`
	Memory        map[string]uint64  `json:"memoryBytes"` // at the end
	Repeated      int                `json:"repeated"`    // requests beyond those that were needed
	// RawHTTP is how many bare requests a second this machine answered to the
	// same connections just before: what the other figures are to be seen
	// beside, since machines differ, and one machine from minute to minute.
	RawHTTP float64 `json:"rawHTTPPerSecond"`
	// Latencies and Samples are what plots are drawn from.
	Latencies []Bucket `json:"latencies,omitempty"`
	Samples   []Sample `json:"samples,omitempty"`
}

// run is one measurement in progress.
type run struct {
	options  Options
	receiver *receiver
	api      string
	nats     string
	client   *http.Client // for questions
}

// Run measures once, on the embedded default in a fresh data directory below
// options.Dir, and returns when everything is stopped again.
func Run(ctx context.Context, options Options) (Result, error) {
	dir, err := os.MkdirTemp(options.Dir, "bench-")
	if err != nil {
		return Result{}, fmt.Errorf("make data directory: %w", err)
	}
	defer os.RemoveAll(dir)
	r := &run{options: options, client: &http.Client{Timeout: 60 * time.Second}}
	if r.receiver, err = startReceiver(ctx, options.Delay, options.FailFirst); err != nil {
		return Result{}, err
	}
	defer r.receiver.close()

	environment, err := r.environment(ctx)
	if err != nil {
		return Result{}, err
	}
	cfg, err := pipeline.ParseUp(environment, dir)
	if err != nil {
		return Result{}, err
	}
	return r.within(ctx, cfg)
}

func (r *run) environment(ctx context.Context) (service.Environment, error) {
	api, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	nats, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	r.api, r.nats = "http://"+api, "nats://"+nats
	return service.Environment{
		"HTTP_ADDR": api, "NATS_LISTEN": nats, "WEBHOOK_URL": r.receiver.url, "PROCESSING_INTERVAL": "0",
		"SENDER_CONCURRENCY": fmt.Sprint(r.options.Concurrency), "RETRY_BASE": "200ms", "LOG_LEVEL": "warn",
	}, nil
}

// within runs everything, measures, and stops everything.
func (r *run) within(ctx context.Context, cfg pipeline.UpConfig) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- pipeline.Up(ctx, cfg, r.options.Log, io.Discard, func(pipeline.Addresses) { close(ready) })
	}()
	select {
	case <-ready:
	case err := <-ended:
		return Result{}, fmt.Errorf("start everything: %w", err)
	}
	result, err := r.measure(ctx)
	cancel()
	if stopErr := <-ended; err == nil {
		err = stopErr
	}
	return result, err
}

func (r *run) measure(ctx context.Context) (Result, error) {
	raw, err := r.receiver.raw(ctx, r.options.Connections)
	if err != nil {
		return Result{}, err
	}
	if r.options.WarmUp > 0 {
		warm := *r
		warm.options.Rate, warm.options.Messages = 0, r.options.WarmUp
		if _, _, err := warm.once(ctx, func(int, int) {}); err != nil {
			return Result{}, fmt.Errorf("warm up: %w", err)
		}
	}
	r.receiver.reset(r.options.Messages)
	sampling, stopSampling := context.WithCancel(ctx)
	defer stopSampling()
	samples, began := make(chan []Sample, 1), time.Now()
	go func() { samples <- r.sample(sampling, began) }()
	before := findFamily().usage()
	sent, result, err := r.once(ctx, r.options.Progress)
	if err != nil {
		return Result{}, err
	}
	stopSampling()
	result.Samples = <-samples
	after := findFamily().usage()
	result.RawHTTP = raw
	result.CPU, result.Memory = map[string]float64{}, after.memory
	for name, seconds := range after.cpu {
		result.CPU[name] = seconds - before.cpu[name]
	}
	result.CPUPerMessage = (after.total() - before.total()) * 1000 / float64(r.options.Messages)
	r.latencies(sent, &result)
	return result, nil
}

// once puts the messages in and waits for the last one.
func (r *run) once(ctx context.Context, progress func(int, int)) (*sent, Result, error) {
	n := r.options.Messages
	sent := &sent{at: make(map[string]time.Time, n)}
	if r.options.Backlog {
		if err := r.control(ctx, "stop"); err != nil {
			return nil, Result{}, err
		}
	}
	already := r.receiver.count()
	began := time.Now()
	if err := r.fill(ctx, n, sent); err != nil {
		return nil, Result{}, err
	}
	accepting := time.Since(began)
	if r.options.Backlog {
		began = time.Now()
		if err := r.control(ctx, "start"); err != nil {
			return nil, Result{}, err
		}
	}
	if err := r.receiver.await(ctx, already+n, func(have int) { progress(have-already, n) }); err != nil {
		return nil, Result{}, err
	}
	last := r.receiver.last()
	if err := r.awaitFinal(ctx); err != nil {
		return nil, Result{}, err
	}
	return sent, Result{
		Delivered:  float64(n) / last.Sub(began).Seconds(),
		Accepted:   float64(n) / accepting.Seconds(),
		FinalAfter: time.Since(last),
	}, nil
}

func (r *run) fill(ctx context.Context, n int, sent *sent) error {
	if r.options.Load != LoadNATS {
		return r.generate(ctx, n, sent)
	}
	js, err := connect(r.nats)
	if err != nil {
		return err
	}
	defer js.Conn().Close()
	return r.publish(ctx, js, n)
}

// awaitFinal waits until no message is on its way any more.
func (r *run) awaitFinal(ctx context.Context) error {
	for {
		var overview message.Overview
		if err := r.status(ctx, &overview); err != nil {
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

func (r *run) status(ctx context.Context, overview *message.Overview) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.api+"/api/v1/messaging/status", nil)
	if err != nil {
		return err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask for status: %w", err)
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(overview)
}

func (r *run) control(ctx context.Context, verb string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.api+"/api/v1/messaging/"+verb, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", contentJSON)
	response, err := r.client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", verb, response.Status)
	}
	return nil
}

func (r *run) latencies(sent *sent, result *Result) {
	r.receiver.mu.Lock()
	defer r.receiver.mu.Unlock()
	needed := len(r.receiver.arrived)
	if r.options.FailFirst {
		needed *= 2
	}
	result.Repeated = r.receiver.requests - needed
	took := make([]time.Duration, 0, len(sent.at))
	for id, at := range sent.at {
		took = append(took, r.receiver.first[id].Sub(at))
	}
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	result.Latencies = histogram(took)
	result.P50, result.P99, result.Max = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
}

func (r *receiver) last() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	var last time.Time
	for _, at := range r.arrived {
		if at.After(last) {
			last = at
		}
	}
	return last
}

func freeAddr(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
