package sender

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
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
	queue     *deliveries.Queue
	recorder  jetstream.Positions
	composer  events.Composer
	publisher *outcome.Publisher
	clock     *clock
	naks      *backpressure.NakBudget
}

// Run delivers messages until ctx ends and then drains: it returns the
// deliveries that have not begun, and finishes the requests in flight. It waits
// for Postgres, NATS and what `dispatch provision` makes. It returns nil after
// an orderly stop.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error { //nolint:funlen // a list of what is started
	to, err := destination.New(cfg.Destination)
	if err != nil {
		return err
	}
	client, err := webhook.NewClient(webhook.Options{MaxIdleConns: cfg.Concurrency, Certificates: cfg.Certificates, Log: log})
	if err != nil {
		return err
	}
	defer client.Close()
	health, registry := cfg.Lifecycle.Observe("sender")
	inFlight, state := inflight.NewSet(heldPerWorker*cfg.Concurrency), newConditions(log)
	meters := newMetrics(registry, message.DefaultDestination, inFlight)
	group := service.NewGroup(log, cfg.Lifecycle.ShutdownTimeout, health)
	defer group.Stop()
	ops, err := service.ListenOps(cfg.Lifecycle.HealthAddr, health, registry)
	if err != nil {
		return err
	}
	group.Go("ops", ops.Run)

	pool, err := db.Open(ctx, cfg.Postgres.URL(), db.Options{Name: "dispatch-sender", MaxConns: poolSize})
	if err != nil {
		return err
	}
	group.OnClose("postgres", func() { db.Close(pool) })
	topology := events.NewTopology(cfg.NATS.Prefix, cfg.NATS.Replicas)
	js, err := jetstream.ConnectService(jetstream.Access(cfg.NATS.NATSAccess), topology, "dispatch-sender", log)
	if err != nil {
		return err
	}
	group.OnClose("nats", js.Conn().Close)
	health.Add("permissions", service.StateDegraded, service.CheckPermissions(js.Denied))
	group.Go("failover", jetstream.NewFailover(js, log).Run)
	schema := func(ctx context.Context) error { return hint(migrate.Check(ctx, pool)) }
	streams := func(ctx context.Context) error { return hint(streams.Check(ctx, js)) }
	health.Add("postgres", service.StateDown, service.Ping(db.Ping(pool), db.Reason))
	health.Add("nats", service.StateDown, func(context.Context) service.Status { return connected(jetstream.CheckServer(js.Conn())) })
	health.Add("provisioned", service.StateDown, func(ctx context.Context) service.Status {
		return provisioned(errors.Join(schema(ctx), streams(ctx)))
	})
	state.showIn(health)

	var queue *deliveries.Queue
	err = service.WaitFor(ctx, log, "schema", schema)
	if err == nil {
		err = service.WaitFor(ctx, log, "streams", func(ctx context.Context) error {
			queue, err = deliveries.OpenQueue(ctx, js, message.DefaultDestination)
			return errors.Join(hint(err), streams(ctx))
		})
	}
	if ctx.Err() != nil {
		return nil // stopped before it began
	}
	if err != nil {
		return err
	}
	stop, err := rpc.Announce(js, events.SenderService, rpc.ServiceVersion(service.Version()), "Delivers messages to the webhook")
	if err != nil {
		return err
	}
	group.OnClose("announcement", func() { _ = stop() }) // without NATS nobody asks for it either
	store := db.NewStore(pool)
	s := newSender(parts{
		cfg: cfg, log: log, state: state, inFlight: inFlight, destination: to, transport: client,
		metrics: meters,
		store:   store, queue: queue, recorder: jetstream.NewPositions(js),
		composer:  events.NewComposer(topology, cfg.EventContent == settings.EventContentFull),
		publisher: outcome.NewPublisher(jetstream.NewPublisher(js), cfg.Concurrency),
		clock:     &clock{store: store, queue: queue}, naks: backpressure.NewNakBudget(queue),
	})
	group.Go("sender", s.run)
	return group.Wait(ctx)
}

// sender delivers the messages of one destination.
type sender struct {
	log       *zap.Logger
	pipeline  *pipeline
	queue     *deliveries.Queue
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

const provisionHint = "run: dispatch provision"

// hint adds what to do about what is not provisioned.
func hint(err error) error {
	if errors.Is(err, migrate.ErrNotMigrated) || errors.Is(err, jetstream.ErrNotProvisioned) {
		return fmt.Errorf("%w; %s", err, provisionHint)
	}
	return err
}

func connected(err error) service.Status {
	if err == nil {
		return service.OK()
	}
	return service.Down(jetstream.Reason(err))
}

func provisioned(err error) service.Status {
	switch {
	case err == nil:
		return service.OK()
	case errors.Is(err, migrate.ErrNotMigrated), errors.Is(err, jetstream.ErrNotProvisioned):
		return service.Down(provisionHint)
	case jetstream.Final(err):
		return service.Down(jetstream.Reason(err))
	}
	return service.Down("not known")
}
