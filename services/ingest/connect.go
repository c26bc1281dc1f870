package ingest

import (
	"context"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

const (
	// maxConns is the size of the pool. The committer and the outbox publisher
	// need four connections; the others are for requests.
	maxConns = 16
	// maxListConns is how many lists are read at a time. Others wait.
	maxListConns = 6
)

// servers are the connections to the servers. The group closes them. Health
// checks watch them.
type servers struct {
	store       *db.Store
	checkSchema func(context.Context) error // reports what is missing in Postgres
	js          *jetstream.Client
	redis       *cache.Cache // nil: there is no Redis
}

// connect opens the connections. It does not wait for the servers.
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
	group.Go("failover", jetstream.NewFailover(js, log).Run)
	health.Add("nats", service.StateDegraded, checkNATS(js))
	needs := jetstream.PayloadNeeds{MaxPayloadBytes: cfg.MaxPayloadBytes, FullContent: cfg.EventContent == settings.EventContentFull}
	health.Add("max_payload", service.StateDegraded, checkMaxPayload(js, needs))
	group.Go("max_payload", needs.Watch(js.Conn(), func(missing string) { log.Warn(missing) }))

	lists, err := db.Open(ctx, cfg.Postgres.URL(), db.Options{Name: "dispatch-ingest-lists", MaxConns: maxListConns, Lists: true})
	if err != nil {
		return servers{}, err
	}
	group.OnClose("postgres for lists", func() { db.Close(lists) })
	s := servers{store: db.NewStore(pool).WithReadPool(lists), js: js}
	s.checkSchema = func(ctx context.Context) error { return migrate.Check(ctx, pool) }
	health.Add("provisioned", service.StateDown, checkProvisioned(s.checkSchema, s.store.CheckSchedule))
	s.redis, err = openRedis(cfg, topology.Prefix(), group, health)
	return s, err
}

// openRedis returns nil if no Redis is configured.
func openRedis(cfg Config, prefix string, group *service.Group, health *service.Health) (*cache.Cache, error) {
	if !cfg.Redis.Enabled() {
		return nil, nil //nolint:nilnil // Redis is optional
	}
	redis, err := cache.OpenWith(cfg.Redis.URL(), prefix, cache.Options(cfg.Redis.RedisAccess))
	if err != nil {
		return nil, err
	}
	group.OnStop("redis", func(context.Context) error { return redis.Close() })
	health.Add("redis", service.StateDegraded, checkRedis(redis))
	return redis, nil
}
