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
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
	"github.com/message-dispatcher/dispatch/services/dispatcher/maintenance"
	"github.com/message-dispatcher/dispatch/services/dispatcher/outbox"
	"github.com/message-dispatcher/dispatch/services/dispatcher/projector"
	"github.com/message-dispatcher/dispatch/services/dispatcher/reclaim"
	"github.com/message-dispatcher/dispatch/services/dispatcher/recorder"
	"github.com/message-dispatcher/dispatch/services/dispatcher/recovery"
	"github.com/message-dispatcher/dispatch/services/dispatcher/schedule"
	"github.com/message-dispatcher/dispatch/services/internal/bootstrap"
)

// maxConns is the size of the connection pool: one connection for each component
// that may be busy, and some for requests.
const maxConns = 10

// Run runs a dispatcher until ctx ends, and then drains it. It waits for
// Postgres, NATS, the schema and the streams, and says what to run if one is
// missing. Until they are there, health reports that the service is down.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error {
	base, err := bootstrap.Start(ctx, bootstrap.Config{
		Name: "dispatcher", Lifecycle: cfg.Lifecycle, Postgres: cfg.Postgres, NATS: cfg.NATS, MaxConns: maxConns,
	}, log)
	defer base.Group.Stop()
	if err != nil {
		return err
	}
	js, store := base.JS, db.NewStore(base.Pool).WithContent(cfg.EventContent == settings.EventContentFull)
	base.Health.Add("nats", service.StateDown, base.Connected())
	base.Health.Add("queue", service.StateDown, checkQueue(js))
	redis, err := base.OpenCache(cfg.Redis, "its copy is brought up to date when it is back")
	if err != nil {
		return err
	}
	provisioned := func(ctx context.Context) error {
		if err := base.CheckSchema(ctx); err != nil {
			return err
		}
		if err := store.CheckSchedule(ctx); err != nil {
			return err
		}
		return streams.Check(ctx, js)
	}
	base.Health.Add("provisioned", service.StateDown, bootstrap.Provisioned(provisioned))
	ready, err := base.AwaitProvisioned(ctx, "postgres, NATS, the schema and the streams (missing ones: run: dispatch provision)", provisioned)
	if !ready {
		return err
	}
	start(base.Group, cfg, redis, component.Base{
		Store: store, JS: js,
		Builder:          events.NewEventBuilder(js.Topology, cfg.EventContent == settings.EventContentFull),
		Publisher:        jetstream.NewPublisher(js),
		RecorderProgress: jetstream.NewRecorderProgress(js),
		Lease:            cfg.Lease, Log: log, Health: base.Health, Registry: base.Metrics,
	})
	return base.Group.Wait(ctx)
}

// start starts the components. They are stopped in the reverse order: first
// requests about the pace, then ticks, and the recorder almost last, so that it
// records what the senders still finish. redis is nil where there is none.
func start(group *service.Group, cfg Config, redis *cache.Cache, base component.Base) {
	instances := rpc.NewInstances(base.JS)
	group.Go("instances", instances.Run)

	group.Go("consumer repair", maintenance.NewConsumerRepair(base).Run)
	group.Go("trimmer", maintenance.NewTrimmer(base).Run)
	projected := projector.NewMetrics(base)
	if redis != nil {
		group.Go("projector", projector.New(base, redis, projected).Run)
	}

	verified, repairer := &recorder.VerifiedProgress{}, recovery.NewRepairer(base)
	losses := recovery.NewLossDetector(base, verified, repairer)
	group.Go("recorder", recorder.New(base, verified).Run)
	group.Go("loss detector", losses.Run)

	group.Go("expirer", maintenance.NewExpirer(base).Run)
	group.Go("count folder", maintenance.NewCountFolder(base).Run)
	group.Go("outbox backlog", outbox.NewBacklog(base).Run)
	deleted := maintenance.DeletedRows(base)
	if cfg.Retention > 0 {
		group.Go("retention", maintenance.NewRetention(base, cfg.Retention, deleted).Run)
	}
	group.Go("orphans", maintenance.NewOrphanSweep(base, deleted).Run)

	// Nothing is emitted before it is known that Postgres has lost nothing.
	relay, lost := outbox.NewRelay(base), reclaim.NewBuffer(base.Lease)
	ticker := schedule.NewTicker(base, lost)
	group.Go("relay", losses.WhenReady(relay.Run))
	group.Go("sweep", losses.WhenReady(reclaim.NewSweeper(base, lost, repairer).Run))
	group.Go("tick", losses.WhenReady(ticker.Run))
	group.Go("control", schedule.NewControl(base, ticker, relay, instances).Run)
}
