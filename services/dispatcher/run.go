package dispatcher

import (
	"context"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/rpc"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
	"github.com/message-dispatcher/dispatch/services/dispatcher/maintenance"
	"github.com/message-dispatcher/dispatch/services/dispatcher/outbox"
	"github.com/message-dispatcher/dispatch/services/dispatcher/projector"
	"github.com/message-dispatcher/dispatch/services/dispatcher/reclaim"
	"github.com/message-dispatcher/dispatch/services/dispatcher/recorder"
	"github.com/message-dispatcher/dispatch/services/dispatcher/recovery"
	"github.com/message-dispatcher/dispatch/services/dispatcher/schedule"
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

	topology := events.NewTopology(cfg.NATS.Prefix, cfg.NATS.Replicas)
	js, denied, err := jetstream.ConnectService(jetstream.Access(cfg.NATS.NATSAccess), topology, "dispatch-dispatcher", log)
	if err != nil {
		return err
	}
	group.OnClose("nats", js.Conn().Close)
	health.Add("permissions", service.StateDegraded, service.CheckPermissions(denied))
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
		return streams.Check(ctx, js)
	}
	health.Add("provisioned", service.StateDown, checkProvisioned(provisioned))
	err = service.WaitFor(ctx, log, "postgres, NATS, the schema and the streams (missing ones: run: dispatch provision)", provisioned)
	if ctx.Err() != nil {
		return nil // stopped before it began
	}
	if err != nil {
		return err
	}
	start(group, cfg, redis, component.Base{
		Store: store, JS: js, Topology: topology,
		Composer:  events.NewComposer(topology, cfg.EventContent == service.EventContentFull),
		Publisher: jetstream.NewPublisher(js),
		Positions: jetstream.NewPositions(js),
		Lease:     cfg.Lease, Log: log, Health: health, Registry: registry,
	})
	return group.Wait(ctx)
}

// start starts every component; they are stopped in the reverse order. redis is
// nil where there is none.
func start(group *service.Group, cfg Config, redis *cache.Cache, base component.Base) {
	instances := rpc.NewInstances(base.JS)
	group.Go("instances", instances.Run)
	group.Go("consumer repair", maintenance.NewConsumerRepair(base).Run)
	group.Go("trimmer", maintenance.NewTrimmer(base).Run)
	copying := projector.NewMetrics(base)
	if redis != nil {
		group.Go("redis copier", projector.NewProjector(base, redis, copying).Run)
	}
	progress, repair := &recorder.Progress{}, recovery.NewRepairer(base)
	losses := recovery.NewLossWatcher(base, progress, repair)
	group.Go("recorder", recorder.NewRecorder(base, progress).Run)
	group.Go("losses", losses.Run)
	group.Go("expirer", maintenance.NewExpirer(base).Run)
	group.Go("count folder", maintenance.NewCountFolder(base).Run)
	deleted := maintenance.DeletedRows(base)
	if cfg.Retention > 0 {
		group.Go("retention", maintenance.NewRetention(base, cfg.Retention, deleted).Run)
	}
	group.Go("orphans", maintenance.NewOrphanSweep(base, deleted).Run)
	relay := outbox.NewRelay(base)
	group.Go("relay", losses.WhenReady(relay.Run))
	lost := reclaim.NewBuffer(cfg.Lease)
	group.Go("sweep", losses.WhenReady(reclaim.NewSweeper(base, lost, repair).Run))
	ticker := schedule.NewTicker(base, lost)
	group.Go("tick", losses.WhenReady(ticker.Run))
	group.Go("control", schedule.NewControl(base, ticker, relay, instances).Run)
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

// roamer leaves a NATS server that does not reach every stream.
func roamer(js *jetstream.Client, topology events.Topology, log *zap.Logger) jetstream.Roamer {
	return jetstream.NewRoamer(js, func(server string) {
		log.Warn("this NATS server does not reach every stream; trying another", zap.String("server", server))
	})
}
