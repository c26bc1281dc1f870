package service_test

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Config is the configuration of a small service: shared blocks and its own fields.
type Config struct {
	Postgres  settings.Postgres
	Log       settings.Log
	Lifecycle service.Lifecycle
	Interval  time.Duration `env:"INTERVAL" envDefault:"2m" help:"time between two ticks"`
}

// Validate checks only the service's own fields. The blocks are validated anyway.
func (c Config) Validate() error {
	if c.Interval < time.Second {
		return settings.Invalid("INTERVAL", c.Interval, "must be at least 1s")
	}
	return nil
}

// pool stands for a database pool.
type pool interface {
	Ping(ctx context.Context) error
	Close()
}

var open func(url string) pool

// Run starts its parts from top to bottom. They stop in the reverse order.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error {
	health, metrics := service.NewHealth(), service.NewMetrics()
	metrics.WatchHealth("sample", health)
	ops, err := service.ListenOps(cfg.Lifecycle.HealthAddr, health, metrics)
	if err != nil {
		return err
	}
	g := service.NewGroup(log, cfg.Lifecycle.ShutdownTimeout, health)
	defer g.Stop()
	g.Go("ops", ops.Run)

	db := open(cfg.Postgres.URL())
	g.OnClose("postgres", db.Close)
	health.Add("postgres", service.StateDown, service.Ping(db.Ping, func(error) string { return "not reachable" }))
	if err := service.WaitFor(ctx, log, "postgres", db.Ping); err != nil {
		return err
	}

	server := &http.Server{ReadHeaderTimeout: time.Second}
	g.Go("http", func(context.Context) error { return server.ListenAndServe() })
	g.OnStop("http", server.Shutdown)
	return g.Wait(ctx)
}

func Example() {
	service.Main("sample", Run)
}
