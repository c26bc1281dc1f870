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
	"github.com/message-dispatcher/dispatch/services/internal/bootstrap"
)

// Run serves until ctx ends, and then drains: the intake stops first, and what
// has begun is stored and published. It works while NATS is down. While it waits
// for Postgres and the schema, it responds with 503. It returns a
// *settings.ValidationErrors for an invalid setting, or the error that stopped it.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error {
	keys, errs := apikey.Parse(cfg.APIKeys)
	if err := errors.Join(errs...); err != nil {
		return err // Validate has reported it
	}
	base, err := bootstrap.Start(ctx, bootstrap.Config{
		Name: "ingest", Lifecycle: cfg.Lifecycle, Postgres: cfg.Postgres, NATS: cfg.NATS, MaxConns: maxConns,
	}, log)
	defer base.Group.Stop()
	if err != nil {
		return err
	}
	group, health, js := base.Group, base.Health, base.JS
	store, redis, err := connect(ctx, cfg, base)
	if err != nil {
		return err
	}

	// Components stop in the reverse order: callers before the components that
	// they call.
	counters := metrics.New(base.Metrics)
	builder := events.NewEventBuilder(js.Topology, cfg.EventContent == settings.EventContentFull)
	publisher := outbox.NewPublisher(jetstream.NewPublisher(js), store, counters.Relayed, log)
	health.Watch("outbox", service.StateDegraded, publisher.Failures())
	group.Go("outbox publisher", publisher.Run)
	fastPath := accept.NewFastPath(js, publisher)
	group.Go("fast path", fastPath.Run)
	committer := accept.NewCommitter(accept.CommitterConfig{
		Store: store, Builder: builder, Outbox: publisher, FastPath: fastPath, JS: js, Metrics: counters, Log: log,
	})
	health.Watch("storing", service.StateDown, committer.Failures())
	group.Go("committer", committer.Run)
	instances := rpc.NewInstances(js)
	group.Go("instances", instances.Run)

	rules := cfg.rules()
	acceptor := accept.New(rules, store, committer)
	stored := messages.New(messages.Config{Store: store, Builder: builder, Outbox: publisher, JS: js, Cache: redis, Log: log})
	eraser := erasure.New(erasure.Config{
		Store: store, Builder: builder, Outbox: publisher, Messages: stored, Rules: rules, JS: js, Cache: redis,
	})
	pace := control.New(js, store, instances)

	api := httpapi.New(httpapi.Config{
		Acceptor: acceptor, Messages: stored, Eraser: eraser, Control: pace, Rules: rules, Keys: keys,
		Health: health, Registry: base.Metrics, Metrics: counters, Log: log,
	})
	legacy.New(api, pace).Register()
	if err := serveHTTP(api, cfg.HTTPAddr, len(keys), log, group); err != nil {
		return err
	}

	ready, err := base.AwaitProvisioned(ctx, "postgres and its schema (missing schema: run dispatch provision)", base.CheckSchema)
	if !ready {
		return err
	}
	api.SetReady()
	group.Go("requests over NATS", natsapi.New(natsapi.Config{
		JS: js, Acceptor: acceptor, Messages: stored, Rules: rules, Metrics: counters, Log: log,
	}).Run)
	group.Go("intake over NATS", intake.New(intake.Config{
		JS: js, Acceptor: acceptor, Store: store, Builder: builder, Metrics: counters, Log: log,
	}).Run)
	return group.Wait(ctx)
}

// serveHTTP listens at once. So a port that is in use is an error of the start,
// and clients get a 503 while the service waits for Postgres.
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

// closeListener closes a listener that the server may have closed already.
func closeListener(listener net.Listener) error {
	if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
