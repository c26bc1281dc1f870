package dispatcher

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// maxConns is the size of the pool: one connection for each component that
// may be busy, and some for requests.
const maxConns = 10

// Run dispatches until ctx ends, and then drains: requests about the pace stop
// first, then the ticks, and the recorder almost last, so that it writes what
// the senders still finish. It waits for Postgres, the schema, NATS and the
// streams, and says what to run when one is missing.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error {
	health, registry := cfg.Lifecycle.Observe("dispatcher")
	group := service.NewGroup(log, cfg.Lifecycle.ShutdownTimeout, health)
	defer group.Stop()

	ops, err := service.ListenOps(cfg.Lifecycle.HealthAddr, health, registry)
	if err != nil {
		return err
	}
	group.Go("health and metrics", ops.Run)

	pool, err := db.Open(ctx, cfg.Postgres.URL(), db.Options{Name: "dispatch-dispatcher", MaxConns: maxConns})
	if err != nil {
		return err
	}
	group.OnClose("postgres", func() { db.Close(pool) })
	health.Add("postgres", service.StateDown, service.Ping(db.Ping(pool), db.Reason))
	store := db.NewStore(pool).WithContent(cfg.EventContent == service.EventContentFull)

	js, denied, err := events.ConnectService(events.Access(cfg.NATS.NATSAccess), "dispatch-dispatcher", log)
	if err != nil {
		return err
	}
	group.OnClose("nats", js.Conn().Close)
	health.Add("permissions", service.StateDegraded, service.CheckPermissions(denied))
	topology := events.NewTopology(cfg.NATS.Prefix, cfg.NATS.Replicas)
	group.Go("roamer", roamer(js, topology, log).Run)
	health.Add("nats", service.StateDown, checkNATS(js))
	health.Add("queue", service.StateDown, checkQueue(js, topology))
	redis, err := openCache(cfg, topology, group, health)
	if err != nil {
		return err
	}

	provisioned := func(ctx context.Context) error {
		if err := db.CheckSchema(ctx, pool); err != nil {
			return err
		}
		if err := store.CheckSchedule(ctx); err != nil {
			return err
		}
		return topology.Check(ctx, js)
	}
	health.Add("provisioned", service.StateDown, checkProvisioned(provisioned))
	err = service.WaitFor(ctx, log, "postgres, NATS, the schema and the streams (missing ones: run: dispatch provision)", provisioned)
	if ctx.Err() != nil {
		return nil // stopped before it began
	}
	if err != nil {
		return err
	}
	p := parts{
		cfg: cfg, log: log, group: group, health: health, metrics: newMetrics(registry),
		store: store, js: js, topology: topology, cache: redis,
		composer:  events.NewComposer(topology, cfg.EventContent == service.EventContentFull),
		publisher: events.NewPublisher(js),
		positions: events.NewPositions(js, topology),
	}
	if err := p.start(); err != nil {
		return err
	}
	return group.Wait(ctx)
}

// parts is what the components are made from.
type parts struct {
	cfg       Config
	log       *zap.Logger
	group     *service.Group
	health    *service.Health
	metrics   *metrics
	store     *db.Store
	js        jetstream.JetStream
	topology  events.Topology
	cache     *cache.Cache // nil when there is no Redis
	composer  events.Composer
	publisher events.Publisher
	positions events.Positions
}

// start starts every component; they are stopped in the reverse order.
func (p parts) start() error {
	instances := events.NewInstances(p.js.Conn(), p.topology)
	p.group.Go("instances", instances.Run)
	p.group.Go("aligner", (&aligner{
		js: p.js, topology: p.topology, log: p.log, trouble: p.watched("aligner", service.StateDegraded, "comparing consumers with their streams"),
	}).Run)
	p.group.Go("trimmer", (&trimmer{
		js: p.js, topology: p.topology, log: p.log, trouble: p.watched("trimmer", service.StateDegraded, "making room for events"),
	}).Run)
	if p.cache != nil {
		p.startCopier()
	}
	announcer := announcer{store: p.store, publisher: p.publisher}
	losses := p.losses(announcer)
	p.group.Go("recorder", (&recorder{
		store: p.store, progress: losses.progress, lease: p.cfg.Lease, metrics: p.metrics, log: p.log,
		feed: &feed{
			js: p.js, topology: p.topology, stream: p.topology.EventsStream(), durable: events.RecorderConsumer, most: recordBatch,
		},
		notes:   notes{store: p.store, composer: p.composer, publisher: p.publisher},
		trouble: p.watched("recorder", service.StateDown, "recorder"),
	}).Run)

	p.group.Go("losses", losses.Run)
	p.group.Go("upkeep", (&upkeep{
		store: p.store, composer: p.composer, announcer: announcer, metrics: p.metrics,
		trouble: p.watched("upkeep", service.StateDegraded, "expiry and counting"),
	}).Run)
	if p.cfg.Retention > 0 {
		p.group.Go("retention", (&retention{
			store: p.store, keep: p.cfg.Retention, metrics: p.metrics, log: p.log, trouble: p.watched("retention", service.StateDegraded, "retention"),
		}).Run)
	}
	p.group.Go("orphans", (&orphanSweep{
		store: p.store, metrics: p.metrics, log: p.log, trouble: p.watched("orphans", service.StateDegraded, "deleting attempts whose message is gone"),
	}).Run)
	relay := &relay{
		store: p.store, js: p.js, topology: p.topology, publisher: p.publisher, positions: p.positions,
		lease: p.cfg.Lease, metrics: p.metrics, log: p.log,
		trouble: p.watched("relay", service.StateDown, "relay"),
	}
	p.group.Go("relay", losses.whenReady(relay.Run))

	lost := &shelf{life: 2 * sweepPeriod(p.cfg.Lease)}
	p.group.Go("sweep", losses.whenReady((&sweeper{
		store: p.store, js: p.js, topology: p.topology, composer: p.composer, announcer: announcer,
		positions: p.positions, lease: p.cfg.Lease, lost: lost, metrics: p.metrics, log: p.log,
		trouble: p.watched("sweep", service.StateDegraded, "lease sweep"),
	}).Run))
	ticker := &ticker{
		store: p.store, js: p.js, topology: p.topology, composer: p.composer, publisher: p.publisher,
		lease: p.cfg.Lease, lost: lost, metrics: p.metrics, log: p.log,
		poked: make(chan struct{}, 1), woken: make(chan struct{}, 1),
		trouble: p.watched("tick", service.StateDown, "tick"),
	}
	p.group.Go("tick", losses.whenReady(ticker.Run))
	p.group.Go("control", (&control{
		store: p.store, js: p.js, topology: p.topology, ticker: ticker, relay: relay, instances: instances, log: p.log,
	}).Run)
	return nil
}

// losses makes what notices and repairs lost commits.
func (p parts) losses(announcer announcer) *losses {
	l := &losses{
		store: p.store, js: p.js, topology: p.topology, progress: &progress{}, log: p.log, ready: make(chan struct{}),
		trouble: p.watched("comparison", service.StateDegraded, "comparing Postgres with events"),
		repair: &repairer{
			store: p.store, js: p.js, topology: p.topology, composer: p.composer, announcer: announcer, positions: p.positions,
			lease: p.cfg.Lease, metrics: p.metrics, log: p.log, id: message.NewID(time.Now()),
		},
	}
	p.health.Add("commits", service.StateDown, l.status)
	return l
}

// openCache opens what Redis holds, if there is a Redis, and shows how it is:
// also while the service waits for something else.
func openCache(cfg Config, topology events.Topology, group *service.Group, health *service.Health) (*cache.Cache, error) {
	if !cfg.Redis.Enabled() {
		return nil, nil //nolint:nilnil // there is none, and nothing wrong with that
	}
	redis, err := cache.OpenWith(cfg.Redis.URL(), topology.Prefix(), cache.Options(cfg.Redis.RedisAccess))
	if err != nil {
		return nil, err
	}
	group.OnStop("redis", func(context.Context) error { return redis.Close() })
	health.Add("redis", service.StateDegraded, checkRedis(redis))
	return redis, nil
}

func (p parts) startCopier() {
	p.group.Go("redis copier", (&copier{
		store: p.store, cache: p.cache, js: p.js, topology: p.topology, metrics: p.metrics, log: p.log,
		feed: &feed{
			js: p.js, topology: p.topology, stream: p.topology.ChangesStream(), durable: events.CacheConsumer, most: copyBatch,
		},
		trouble: p.watched("redis copier", service.StateDegraded, "copying to Redis"),
	}).Run)
}

// roamer leaves a NATS server that does not reach every stream.
func roamer(js jetstream.JetStream, topology events.Topology, log *zap.Logger) events.Roamer {
	return events.NewRoamer(js, topology, func(server string) {
		log.Warn("this NATS server does not reach every stream; trying another", zap.String("server", server))
	})
}
