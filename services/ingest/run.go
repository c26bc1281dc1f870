package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/rpc"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/ingest/accept"
	"github.com/message-dispatcher/dispatch/services/ingest/control"
	"github.com/message-dispatcher/dispatch/services/ingest/erasure"
	"github.com/message-dispatcher/dispatch/services/ingest/httpapi"
	"github.com/message-dispatcher/dispatch/services/ingest/httpapi/apikey"
	"github.com/message-dispatcher/dispatch/services/ingest/intake"
	"github.com/message-dispatcher/dispatch/services/ingest/legacy"
	"github.com/message-dispatcher/dispatch/services/ingest/messages"
	"github.com/message-dispatcher/dispatch/services/ingest/metrics"
	"github.com/message-dispatcher/dispatch/services/ingest/natsapi"
	"github.com/message-dispatcher/dispatch/services/ingest/outbox"
)

// maxConns is the size of the pool: the committers, the announcer, and enough
// for questions.
const maxConns = 16

// listConns is how many lists are made at once; more wait.
const listConns = 6

// Run serves until ctx ends, and then drains: the intake stops first, what
// was begun is stored and announced. It works with NATS away, and waits for
// Postgres and the schema while it answers 503. It returns a
// *service.ConfigError for a setting that can't be, or what made it fail.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error {
	health, registry := cfg.Lifecycle.Observe("ingest")
	group := service.NewGroup(log, cfg.Lifecycle.ShutdownTimeout, health)
	defer group.Stop()
	ops, err := service.ListenOps(cfg.Lifecycle.HealthAddr, health, registry)
	if err != nil {
		return err
	}
	group.Go("health and metrics", ops.Run)

	servers, err := connect(ctx, cfg, log, group, health)
	if err != nil {
		return err
	}
	store, js := servers.store, servers.js
	group.Go("failover", jetstream.NewFailover(js, log).Run)

	// What is stored is stopped last: it is registered before all that calls it.
	counts := metrics.New(registry)
	composer := events.NewComposer(js.Topology, cfg.EventContent == settings.EventContentFull)
	announcer := outbox.NewPublisher(jetstream.NewPublisher(js), store, counts.Relayed, log)
	health.Watch("announcements", service.StateDegraded, announcer.Trouble())
	group.Go("announcer", announcer.Run)
	arrivals := accept.NewFastPath(js, announcer)
	group.Go("arrivals", arrivals.Run)
	commit := accept.NewCommitter(accept.CommitterConfig{
		Store: store, Composer: composer, Announcer: announcer, Arrivals: arrivals,
		JS: js, Counts: counts, Log: log,
	})
	health.Watch("storing", service.StateDown, commit.Trouble())
	group.Go("committer", commit.Run)
	instances := rpc.NewInstances(js)
	group.Go("instances", instances.Run)

	rules := cfg.rules()
	acceptor := accept.New(rules, store, commit)
	stored := messages.New(messages.Config{
		Store: store, Composer: composer, Announcer: announcer, JS: js, Cache: servers.cache, Log: log,
	})
	eraser := erasure.New(erasure.Config{
		Store: store, Composer: composer, Announcer: announcer, Messages: stored, Rules: rules, JS: js, Cache: servers.cache,
	})
	pace := control.New(js, store, instances)
	keys, mistakes := apikey.Parse(cfg.APIKeys)
	if err := errors.Join(mistakes...); err != nil {
		return err // Validate has told already
	}
	api := httpapi.New(httpapi.Config{
		Acceptor: acceptor, Messages: stored, Eraser: eraser, Control: pace, Rules: rules, Keys: keys,
		Health: health, Metrics: registry, Counts: counts, Log: log,
	})
	legacy.New(api, pace).Register(api.Router())
	if err := serveHTTP(api, cfg.HTTPAddr, len(keys), log, group); err != nil {
		return err
	}

	err = service.WaitFor(ctx, log, "postgres and its schema (missing schema: run dispatch provision)", servers.schema)
	if ctx.Err() != nil {
		return nil // stopped before it began
	}
	if err != nil {
		return err
	}
	api.SetReady()
	group.Go("requests over NATS", natsapi.New(natsapi.Config{
		JS: js, Acceptor: acceptor, Messages: stored, Rules: rules, Counts: counts, Log: log,
	}).Run)
	group.Go("intake over NATS", intake.New(intake.Config{
		JS: js, Acceptor: acceptor, Store: store, Composer: composer, Counts: counts, Log: log,
	}).Run)
	return group.Wait(ctx)
}

// serveHTTP listens at once, so that a taken port is an error of the start, and
// requests are told to come again while the service waits for Postgres.
func serveHTTP(api *httpapi.API, addr string, keys int, log *zap.Logger, group *service.Group) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on HTTP_ADDR=%s: %w", addr, err)
	}
	if keys == 0 {
		log.Info("no API_KEYS are set: answering this machine alone, without a key", zap.String("addr", listener.Addr().String()))
	} else {
		log.Info("listening", zap.String("addr", listener.Addr().String()), zap.Int("keys", keys))
	}
	group.Go("http", func(context.Context) error { return api.Serve(listener) })
	group.OnStop("http drain", func(ctx context.Context) error {
		return errors.Join(api.Drain(ctx), closeListener(listener))
	})
	return nil
}

// closeListener closes what a server closes too, if it had begun to serve.
func closeListener(listener net.Listener) error {
	if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
