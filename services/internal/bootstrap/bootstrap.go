// Package bootstrap starts what ingest, dispatcher and sender have in common:
// their group, health, metrics and operations server, and the connections to
// Postgres, NATS and Redis. What a service does with them is in its own run.go.
package bootstrap

import (
	"context"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Config is what differs between the services.
type Config struct {
	Name      string // ingest, dispatcher or sender
	Lifecycle service.Lifecycle
	Postgres  settings.Postgres
	NATS      settings.NATS
	MaxConns  int32 // size of the pool of Postgres connections
}

// Service is a service that is started and does nothing yet. Everything in it is
// closed when Group stops, and health shows each part.
type Service struct {
	Name    string
	Log     *zap.Logger
	Group   *service.Group
	Health  *service.Health
	Metrics *service.Metrics

	Pool     *dbpool.Pool
	JS       *jetstream.Client
	postgres settings.Postgres
}

// Start listens for probes, opens the connections and returns without waiting for
// a server: one that is away shows in health. A port that is taken and a setting
// that no driver takes are errors. The caller must call Group.Stop, also after
// an error.
func Start(ctx context.Context, cfg Config, log *zap.Logger) (*Service, error) {
	health, metrics := cfg.Lifecycle.Observe(cfg.Name)
	s := &Service{
		Name: cfg.Name, Log: log, Health: health, Metrics: metrics, postgres: cfg.Postgres,
		Group: service.NewGroup(log, cfg.Lifecycle.ShutdownTimeout, health),
	}
	ops, err := service.ListenOps(cfg.Lifecycle.HealthAddr, health, metrics)
	if err != nil {
		return s, err
	}
	s.Group.Go("health and metrics", ops.Run)
	if s.Pool, err = s.OpenPool(ctx, "", dbpool.Options{MaxConns: cfg.MaxConns}); err != nil {
		return s, err
	}
	health.Add("postgres", service.StateDown, service.Ping(dbpool.Ping(s.Pool), dbpool.Reason))
	err = s.connectNATS(cfg.NATS)
	return s, err
}

// OpenPool opens a pool of connections to the service's Postgres. purpose is part
// of the application name and may be empty.
func (s *Service) OpenPool(ctx context.Context, purpose string, options dbpool.Options) (*dbpool.Pool, error) {
	options.Name = "dispatch-" + s.Name
	closes := "postgres"
	if purpose != "" {
		options.Name += "-" + purpose
		closes += " for " + purpose
	}
	pool, err := dbpool.Open(ctx, s.postgres.URL(), options)
	if err != nil {
		return nil, err
	}
	s.Group.OnClose(closes, func() { dbpool.Close(pool) })
	return pool, nil
}

func (s *Service) connectNATS(nats settings.NATS) (err error) {
	topology := events.NewTopology(nats.Prefix, nats.Replicas)
	s.JS, err = jetstream.ConnectService(jetstream.Access(nats.NATSAccess), topology, "dispatch-"+s.Name, s.Log)
	if err != nil {
		return err
	}
	s.Group.OnClose("nats", s.JS.Conn().Close)
	s.Health.Add("permissions", service.StateDegraded, service.CheckPermissions(s.JS.Denied))
	s.Group.Go("failover", jetstream.NewFailover(s.JS, s.Log).Run)
	return nil
}

// OpenCache opens the cache. It returns nil where there is no Redis. consequence
// completes what health says while Redis is away.
func (s *Service) OpenCache(redis settings.Redis, consequence string) (*cache.Cache, error) {
	if !redis.Enabled() {
		return nil, nil //nolint:nilnil // Redis is optional
	}
	c, err := cache.OpenWith(redis.URL(), s.JS.Topology.Prefix(), cache.Options(redis.RedisAccess))
	if err != nil {
		return nil, err
	}
	s.Group.OnStop("redis", func(context.Context) error { return c.Close() })
	s.Health.Add("redis", service.StateDegraded, func(ctx context.Context) service.Status {
		if err := c.Ping(ctx); err != nil {
			return service.Degraded(cache.Reason(err) + "; " + consequence)
		}
		return service.OK()
	})
	return c, nil
}
