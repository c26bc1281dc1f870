package ingest

import (
	"context"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// servers are the servers that ingest works with. Each is closed when the group
// stops, and health tells of each.
type servers struct {
	store  *db.Store
	schema func(context.Context) error // reports what is missing in Postgres
	js     *jetstream.Client
	cache  *cache.Cache // nil when there is no Redis
}

// connect opens what leads to the servers. It waits for none of them.
func connect(ctx context.Context, cfg Config, log *zap.Logger, group *service.Group, health *service.Health) (servers, error) {
	pool, err := db.Open(ctx, cfg.Postgres.URL(), db.Options{Name: "dispatch-ingest", MaxConns: maxConns})
	if err != nil {
		return servers{}, err
	}
	group.OnClose("postgres", func() { db.Close(pool) })
	health.Add("postgres", service.StateDown, service.Ping(db.Ping(pool), db.Reason))

	topology := events.NewTopology(cfg.NATS.Prefix, cfg.NATS.Replicas)
	js, err := jetstream.ConnectService(jetstream.Access(cfg.NATS.NATSAccess), topology, "dispatch-ingest", log)
	if err != nil {
		return servers{}, err
	}
	group.OnClose("nats", js.Conn().Close)
	health.Add("permissions", service.StateDegraded, service.CheckPermissions(js.Denied))
	health.Add("nats", service.StateDegraded, checkNATS(js))
	needs := jetstream.PayloadNeeds{MaxPayloadBytes: cfg.MaxPayloadBytes, FullContent: cfg.EventContent == settings.EventContentFull}
	health.Add("max_payload", service.StateDegraded, checkPayload(js, needs))
	group.Go("max_payload", needs.Watch(js.Conn(), func(missing string) { log.Warn(missing) }))
	store := db.NewStore(pool)
	schema := func(ctx context.Context) error { return db.CheckSchema(ctx, pool) }
	health.Add("provisioned", service.StateDown, checkProvisioned(schema, store.CheckSchedule))

	lists, err := db.Open(ctx, cfg.Postgres.URL(), db.Options{Name: "dispatch-ingest-lists", MaxConns: listConns, Lists: true})
	if err != nil {
		return servers{}, err
	}
	group.OnClose("postgres for lists", func() { db.Close(lists) })
	redis, err := openCache(cfg, topology.Prefix(), group, health)
	return servers{store: store.WithReadPool(lists), schema: schema, js: js, cache: redis}, err
}

// openCache opens what Redis holds, if there is a Redis.
func openCache(cfg Config, prefix string, group *service.Group, health *service.Health) (*cache.Cache, error) {
	if !cfg.Redis.Enabled() {
		return nil, nil //nolint:nilnil // there is none, and nothing wrong with that
	}
	redis, err := cache.OpenWith(cfg.Redis.URL(), prefix, cache.Options(cfg.Redis.RedisAccess))
	if err != nil {
		return nil, err
	}
	group.OnStop("redis", func(context.Context) error { return redis.Close() })
	health.Add("redis", service.StateDegraded, checkRedis(redis))
	return redis, nil
}
