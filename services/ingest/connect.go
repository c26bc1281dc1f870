package ingest

import (
	"context"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/internal/bootstrap"
)

const (
	// maxConns is the size of the pool. The committer and the outbox publisher
	// need four connections; the others are for requests.
	maxConns = 16
	// maxListConns is how many lists are read at a time. Others wait.
	maxListConns = 6
)

// connect opens what ingest alone needs, and adds its health checks. Lists have a
// pool of their own, so that they never hold up what is stored. The cache is nil
// where there is no Redis.
func connect(ctx context.Context, cfg Config, base *bootstrap.Service) (*db.Store, *cache.Cache, error) {
	base.Health.Add("nats", service.StateDegraded, checkNATS(base.JS))
	needs := jetstream.PayloadNeeds{MaxPayloadBytes: cfg.MaxPayloadBytes, FullContent: cfg.EventContent == settings.EventContentFull}
	base.Health.Add("max_payload", service.StateDegraded, checkMaxPayload(base.JS, needs))
	base.Group.Go("max_payload", needs.Watch(base.JS.Conn(), func(missing string) { base.Log.Warn(missing) }))
	store := db.NewStore(base.Pool)
	base.Health.Add("provisioned", service.StateDown, checkProvisioned(base.CheckSchema, store.CheckSchedule))

	lists, err := base.OpenPool(ctx, "lists", dbpool.Options{MaxConns: maxListConns, Lists: true})
	if err != nil {
		return nil, nil, err
	}
	redis, err := base.OpenCache(cfg.Redis, "messages are accepted, and an erasure waits for it")
	return store.WithReadPool(lists), redis, err
}
