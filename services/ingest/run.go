package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// maxConns is the size of the pool: the committers, the announcer, and enough
// for questions.
const maxConns = 16

// listConns is how many lists are made at once; more wait.
const listConns = 6

// recacheWait bounds the copy to Redis of what was retried.
const recacheWait = 2 * time.Second

// unparkWait bounds the removal of a cancelled message's schedule.
const unparkWait = 2 * time.Second

// Run serves until ctx ends, and then drains: the intake stops first, what
// was begun is stored and announced. It works with NATS away, and waits for
// Postgres and the schema while it answers 503. It returns a
// *service.ConfigError for a setting that can't be, or what made it fail.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error { //nolint:funlen // a list of what is started
	keys, mistakes := parseAPIKeys(cfg.APIKeys)
	if err := errors.Join(mistakes...); err != nil {
		return err // Validate has told already
	}
	health, metrics := cfg.Lifecycle.Observe("ingest")
	group := service.NewGroup(log, cfg.Lifecycle.ShutdownTimeout, health)
	defer group.Stop()

	ops, err := service.ListenOps(cfg.Lifecycle.HealthAddr, health, metrics)
	if err != nil {
		return err
	}
	group.Go("health and metrics", ops.Run)

	pool, err := db.Open(ctx, cfg.Postgres.URL(), db.Options{Name: "dispatch-ingest", MaxConns: maxConns})
	if err != nil {
		return err
	}
	group.OnClose("postgres", func() { db.Close(pool) })
	health.Add("postgres", service.StateDown, service.Ping(db.Ping(pool), db.Reason))

	js, denied, err := events.ConnectService(events.Access(cfg.NATS.NATSAccess), "dispatch-ingest", log)
	if err != nil {
		return err
	}
	group.OnClose("nats", js.Conn().Close)
	health.Add("permissions", service.StateDegraded, service.CheckPermissions(denied))
	topology := events.NewTopology(cfg.NATS.Prefix, cfg.NATS.Replicas)
	group.Go("roamer", roamer(js, topology, log).Run)
	health.Add("nats", service.StateDegraded, checkNATS(js, topology))
	needs := events.PayloadNeeds{MaxPayloadBytes: cfg.MaxPayloadBytes, FullContent: cfg.EventContent == service.EventContentFull}
	health.Add("max_payload", service.StateDegraded, checkPayload(js, needs))
	group.Go("max_payload", needs.Watch(js.Conn(), func(missing string) { log.Warn(missing) }))
	store := db.NewStore(pool)
	schema := func(ctx context.Context) error { return db.CheckSchema(ctx, pool) }
	health.Add("provisioned", service.StateDown, checkProvisioned(schema, store.CheckSchedule))

	lists, err := db.Open(ctx, cfg.Postgres.URL(), db.Options{Name: "dispatch-ingest-lists", MaxConns: listConns, Lists: true})
	if err != nil {
		return err
	}
	group.OnClose("postgres for lists", func() { db.Close(lists) })

	p := parts{
		cfg: cfg, log: log, group: group, health: health, metrics: metrics,
		store: store.WithReadPool(lists), js: js, topology: topology, counts: newCounters(metrics),
	}
	if err := p.openCache(); err != nil {
		return err
	}
	cases := p.useCases()
	a := &api{
		cases: cases, eraser: p.eraser(cases), control: p.control(), keys: keys,
		health: health, metrics: metrics, counts: p.counts, log: log, failing: new(throttle),
		bodies: newRoom(bodyRoom), answers: newRoom(answerRoom), streams: newRoom(maxStreams),
	}
	if err := p.serve(a); err != nil {
		return err
	}
	err = service.WaitFor(ctx, log, "postgres and its schema (missing schema: run dispatch provision)", schema)
	if ctx.Err() != nil {
		return nil // stopped before it began
	}
	if err != nil {
		return err
	}
	a.ready.Store(true)
	group.Go("requests over NATS", (&microService{js: js, topology: topology, cases: cases, counts: p.counts, log: log}).Run)
	group.Go("intake over NATS", (&intake{
		js: js, topology: topology, cases: cases, publish: events.NewPublisher(js), counts: p.counts, log: log,
	}).Run)
	return group.Wait(ctx)
}

// parts is what the components of the service are made from.
type parts struct {
	cfg      Config
	log      *zap.Logger
	group    *service.Group
	health   *service.Health
	metrics  *service.Metrics
	store    *db.Store
	js       jetstream.JetStream
	topology events.Topology
	counts   *counters
	cache    *cache.Cache // nil when there is no Redis
}

func (p parts) eraser(cases *useCases) *eraser {
	return &eraser{useCases: cases, js: p.js, topology: p.topology, cache: p.cache}
}

// openCache opens what Redis holds, if there is a Redis.
func (p *parts) openCache() (err error) {
	if !p.cfg.Redis.Enabled() {
		return nil
	}
	if p.cache, err = cache.OpenWith(p.cfg.Redis.URL(), p.topology.Prefix(), cache.Options(p.cfg.Redis.RedisAccess)); err != nil {
		return err
	}
	p.group.OnStop("redis", func(context.Context) error { return p.cache.Close() })
	p.health.Add("redis", service.StateDegraded, checkRedis(p.cache))
	return nil
}

// useCases makes the use cases, and what stores and announces for them. It is
// registered before all that calls it, so that it is stopped after.
func (p parts) useCases() *useCases {
	composer := events.NewComposer(p.topology, p.cfg.EventContent == service.EventContentFull)

	announcer := newAnnouncer(events.NewPublisher(p.js), p.store, p.log)
	announcer.missed = p.counts.relayed.Inc
	p.health.Watch("announcements", service.StateDegraded, announcer.trouble)
	p.group.Go("announcer", announcer.Run)

	commit := newCommitter(p.store, p.log)
	p.health.Watch("storing", service.StateDown, commit.trouble)
	commit.compose = composer.Arrived
	commit.arrivals = newArrivals(p.js, p.topology, announcer.Behind)
	p.group.Go("arrivals", commit.arrivals.Run)
	wake := func() { events.Wake(p.js, p.topology) }
	commit.announce = func(c committed) {
		if c.pending {
			wake()
		}
		announcer.Announce(c)
	}
	commit.observe = func(size int) { p.counts.groups.Observe(float64(size)) }
	commit.emitted = func(messages int) { p.counts.claimed.Add(float64(messages)) }
	p.counts.watchQueue(p.metrics, commit)
	p.group.Go("committer", commit.Run)

	return &useCases{
		rules: p.cfg.rules(), store: p.store, commit: commit, composer: composer,
		announce: announcer.Announce, wake: wake, unpark: p.unpark, recache: p.recache,
	}
}

// control makes what knows about the pace, and keeps the list of instances.
func (p parts) control() *control {
	instances := events.NewInstances(p.js.Conn(), p.topology)
	p.group.Go("instances", instances.Run)
	return &control{js: p.js, topology: p.topology, store: p.store, instances: instances}
}

// serve listens at once, so that a taken port is an error of the start, and
// requests are told to come again while the service waits for Postgres.
func (p parts) serve(a *api) error {
	listener, err := net.Listen("tcp", p.cfg.HTTPAddr)
	if err != nil {
		return fmt.Errorf("listen on HTTP_ADDR=%s: %w", p.cfg.HTTPAddr, err)
	}
	if len(a.keys) == 0 {
		p.log.Info("no API_KEYS are set: answering this machine alone, without a key", zap.String("addr", listener.Addr().String()))
	} else {
		p.log.Info("listening", zap.String("addr", listener.Addr().String()), zap.Int("keys", len(a.keys)))
	}
	a.conns.limit = connectionLimit()
	p.counts.watchConnections(p.metrics, &a.conns)
	app := a.app()
	p.group.Go("http", func(context.Context) error { return app.Listener(a.conns.listen(listener)) })
	p.group.OnStop("http drain", func(ctx context.Context) error {
		a.conns.drain()
		return errors.Join(app.ShutdownWithContext(ctx), closeListener(listener))
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

// unpark takes the schedule of a cancelled message off its stream. The
// message's row keeps it from being sent anyway, so nobody waits for it.
func (p parts) unpark(m message.Message) {
	if !p.js.Conn().IsConnected() {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), unparkWait)
		defer cancel()
		failpoint.At(failpoint.CancelPurging)
		err := p.topology.RemoveParked(ctx, p.js, m)
		failpoint.At(failpoint.CancelPurged)
		if err != nil {
			p.log.Debug("the schedule of a cancelled message stays until it fires", zap.Stringer("id", m.ID), zap.Error(err))
		}
	}()
}

// recache copies to Redis what the copier will not hear of before the next
// emission: a retry has no event. Nobody waits for it, and what gets lost here
// comes with that emission.
func (p parts) recache(ids []message.ID) {
	if p.cache == nil || len(ids) == 0 {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), recacheWait)
		defer cancel()
		rows, err := p.store.States(ctx, ids)
		states := make([]cache.State, len(rows))
		for i, row := range rows {
			states[i] = cache.State(row)
		}
		if err == nil {
			err = p.cache.Refresh(ctx, states)
		}
		if err != nil {
			p.log.Debug("Redis shows what was retried at its next emission", zap.Int("messages", len(ids)), zap.Error(err))
		}
	}()
}

// roamer leaves a NATS server that does not reach every stream.
func roamer(js jetstream.JetStream, topology events.Topology, log *zap.Logger) events.Roamer {
	return events.NewRoamer(js, topology, func(server string) {
		log.Warn("this NATS server does not reach every stream; trying another", zap.String("server", server))
	})
}
