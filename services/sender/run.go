package sender

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/rpc"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/redact"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/internal/bootstrap"
	"github.com/message-dispatcher/dispatch/services/sender/backpressure"
	"github.com/message-dispatcher/dispatch/services/sender/destination"
	"github.com/message-dispatcher/dispatch/services/sender/inflight"
	"github.com/message-dispatcher/dispatch/services/sender/outcome"
	"github.com/message-dispatcher/dispatch/services/sender/transport"
	"github.com/message-dispatcher/dispatch/services/sender/transport/webhook"
)

const (
	// poolSize is two loaders, the health check, and one to spare.
	poolSize = 4
	// teardown is what a drain leaves for everything that is closed after it.
	teardown = 2 * time.Second
)

// parts are what a sender is made of.
type parts struct {
	cfg         Config
	log         *zap.Logger
	metrics     *metrics
	state       *conditions
	inFlight    *inflight.Set
	destination *destination.Destination
	transport   transport.Transport

	store     *db.Store
	queue     *deliveries.Receiver
	recorder  jetstream.RecorderProgress
	builder   events.EventBuilder
	publisher *outcome.Publisher
	clock     *clock
	naks      *backpressure.NakBudget
}

// Run delivers messages until ctx ends and then drains: it returns the
// deliveries that have not begun, and finishes the requests in flight. It waits
// for Postgres, NATS and what `dispatch provision` makes. It returns nil after
// an orderly stop.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error {
	to, err := destination.New(cfg.Destination)
	if err != nil {
		return err
	}
	client, err := webhook.NewClient(webhook.Options{MaxIdleConns: cfg.Concurrency, Certificates: cfg.Certificates, Log: log})
	if err != nil {
		return err
	}
	defer client.Close()
	base, err := bootstrap.Start(ctx, bootstrap.Config{
		Name: "sender", Lifecycle: cfg.Lifecycle, Postgres: cfg.Postgres, NATS: cfg.NATS, MaxConns: poolSize,
	}, log)
	defer base.Group.Stop()
	if err != nil {
		return err
	}
	js := base.JS
	inFlight, state := inflight.NewSet(heldPerWorker*cfg.Concurrency), newConditions(log)
	meters := newMetrics(base.Metrics, message.DefaultDestination, inFlight)
	provisioned := func(ctx context.Context) error { return bootstrap.Hint(streams.Check(ctx, js)) }
	base.Health.Add("nats", service.StateDown, base.Connected())
	base.Health.Add("provisioned", service.StateDown, bootstrap.Provisioned(func(ctx context.Context) error {
		return errors.Join(base.CheckSchema(ctx), provisioned(ctx))
	}))
	state.showIn(base.Health)
	if ready, err := base.AwaitProvisioned(ctx, "schema", base.CheckSchema); !ready {
		return err
	}
	var queue *deliveries.Receiver
	ready, err := base.AwaitProvisioned(ctx, "streams", func(ctx context.Context) (err error) {
		queue, err = deliveries.OpenReceiver(ctx, js, message.DefaultDestination)
		return errors.Join(bootstrap.Hint(err), provisioned(ctx))
	})
	if !ready {
		return err
	}
	stop, err := rpc.Register(js, events.SenderService, rpc.ServiceVersion(service.Version()), "Delivers messages to the webhook")
	if err != nil {
		return err
	}
	base.Group.OnClose("announcement", func() { _ = stop() }) // without NATS nobody asks for it either
	store := db.NewStore(base.Pool)
	s := newSender(parts{
		cfg: cfg, log: log, state: state, inFlight: inFlight, destination: to, transport: client,
		metrics: meters,
		store:   store, queue: queue, recorder: jetstream.NewRecorderProgress(js),
		builder:   events.NewEventBuilder(js.Topology, cfg.EventContent == settings.EventContentFull),
		publisher: outcome.NewPublisher(jetstream.NewPublisher(js), cfg.Concurrency),
		clock:     &clock{store: store, queue: queue}, naks: backpressure.NewNakBudget(queue),
	})
	base.Group.Go("sender", s.run)
	return base.Group.Wait(ctx)
}

// sender delivers the messages of one destination.
type sender struct {
	log       *zap.Logger
	pipeline  *pipeline
	queue     *deliveries.Receiver
	publisher *outcome.Publisher
	clock     *clock
	naks      *backpressure.NakBudget
	drain     time.Duration // how long requests in flight may take after the end
}

func newSender(p parts) *sender {
	return &sender{
		log: p.log, pipeline: newPipeline(p), queue: p.queue, publisher: p.publisher, clock: p.clock, naks: p.naks,
		drain: p.cfg.Lifecycle.ShutdownTimeout - teardown,
	}
}

// run works until ctx ends, and then drains.
func (s *sender) run(ctx context.Context) error {
	flight, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(s.drain, cut) })()

	background, stop := context.WithCancel(flight)
	defer stop()
	s.clock.ask(ctx)
	s.naks.Ask(ctx)
	var running sync.WaitGroup
	for _, loop := range []func(context.Context){s.publisher.Run, s.pipeline.keepAlive, s.clock.run, s.naks.Run} {
		running.Go(func() { loop(background) })
	}
	s.pipeline.run(ctx, flight)
	stop()
	running.Wait()
	failpoint.At(failpoint.SenderDrained)
	if err := s.queue.Flush(flight); err != nil {
		s.log.Warn("returned deliveries may wait for their ack wait", zap.String("error", redact.Text(err.Error())))
	}
	return nil
}
