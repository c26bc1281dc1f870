package sender

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

const (
	// poolSize is two loaders, the health check, and one to spare.
	poolSize = 4
	// teardown is what a drain leaves for everything that is closed after it.
	teardown = 2 * time.Second
)

// loader reads the rows of ids; *db.Store is the one.
type loader interface {
	LoadQueued(ctx context.Context, ids []message.ID, bytes int64) (db.LoadedMessages, error)
	AttemptOutcomes(ctx context.Context, id message.ID) ([]message.RecordedAttempt, error)
	LoadVerified(ctx context.Context, ids []message.ID, bytes int64) (db.LoadedMessages, error)
	Clock(ctx context.Context) (time.Time, error)
}

// sender delivers the messages of one destination.
type sender struct {
	log       *zap.Logger
	store     loader
	queue     *events.Queue
	positions events.Positions
	teller    *teller
	composer  events.Composer
	webhook   *webhook
	backoff   message.Backoff
	metrics   *meters
	workers   int
	drain     time.Duration

	hand         *hand
	fresh        chan *item // certainly first, to be loaded
	doubtful     chan *item // to be loaded once the recorder has caught up
	ready        chan *item // worth an attempt
	eventsAway   outage
	postgresAway outage
	pulling      *service.FailureTracker
	opening      *service.FailureTracker
	unsent       unsentSince
	naks         *nakBudget
	clock        *events.Skew // Postgres': of every time that others see or go by
}

// Run delivers messages until ctx ends and then drains: ids that are not
// begun are given back, requests in flight are finished. It waits for
// Postgres, NATS and what `dispatch provision` makes. It returns nil after an
// orderly stop.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error { //nolint:funlen // a list of what is started
	s, err := newSender(cfg, log)
	if err != nil {
		return err
	}
	defer s.webhook.close()
	health, metrics := cfg.Lifecycle.Observe("sender")
	s.metrics = newMeters(metrics, message.DefaultDestination, s.hand.size)
	group := service.NewGroup(log, cfg.Lifecycle.ShutdownTimeout, health)
	defer group.Stop()
	ops, err := service.ListenOps(cfg.Lifecycle.HealthAddr, health, metrics)
	if err != nil {
		return err
	}
	group.Go("ops", ops.Run)

	pool, err := db.Open(ctx, cfg.Postgres.URL(), db.Options{Name: "dispatch-sender", MaxConns: poolSize})
	if err != nil {
		return err
	}
	group.OnClose("postgres", func() { db.Close(pool) })
	js, denied, err := events.ConnectService(events.Access(cfg.NATS.NATSAccess), "dispatch-sender", log)
	if err != nil {
		return err
	}
	group.OnClose("nats", js.Conn().Close)
	health.Add("permissions", service.StateDegraded, service.CheckPermissions(denied))
	topology := events.NewTopology(cfg.NATS.Prefix, cfg.NATS.Replicas)
	group.Go("roamer", roamer(js, topology, log).Run)
	schema := func(ctx context.Context) error { return hint(db.CheckSchema(ctx, pool)) }
	streams := func(ctx context.Context) error { return hint(topology.Check(ctx, js)) }
	health.Add("postgres", service.StateDown, service.Ping(db.Ping(pool), db.Reason))
	health.Add("nats", service.StateDown, func(context.Context) service.Status { return connected(events.CheckServer(js.Conn())) })
	health.Add("provisioned", service.StateDown, func(ctx context.Context) service.Status {
		return provisioned(errors.Join(schema(ctx), streams(ctx)))
	})

	s.watch(health)

	s.store, s.positions = db.NewStore(pool), events.NewPositions(js, topology)
	s.teller = newTeller(events.NewPublisher(js), s.workers)
	s.composer = events.NewComposer(topology, cfg.EventContent == service.EventContentFull)
	err = service.WaitFor(ctx, log, "schema", schema)
	if err == nil {
		err = service.WaitFor(ctx, log, "streams", func(ctx context.Context) error {
			s.queue, err = events.OpenQueue(ctx, js, topology, message.DefaultDestination)
			return errors.Join(hint(err), streams(ctx))
		})
	}
	if ctx.Err() != nil {
		return nil // stopped before it began
	}
	if err != nil {
		return err
	}
	stop, err := events.Announce(js, topology, events.SenderService, events.ServiceVersion(service.Version()), "Delivers messages to the webhook")
	if err != nil {
		return err
	}
	group.OnClose("announcement", func() { _ = stop() }) // without NATS nobody asks for it either
	group.Go("sender", s.run)
	return group.Wait(ctx)
}

// watch shows what keeps the sender from its work while its dependencies seem
// to be well: a stream that takes nothing more, a table that can't be read.
func (s *sender) watch(health *service.Health) {
	health.Add("events", service.StateDown, func(context.Context) service.Status {
		return s.eventsAway.status("status events can't be published; nothing new is sent")
	})
	health.Add("messages", service.StateDown, func(context.Context) service.Status {
		return s.postgresAway.status("messages can't be read from Postgres; nothing new is sent")
	})
	health.Watch("deliveries", service.StateDown, s.pulling)
	health.Watch("connections", service.StateDown, s.opening)
}

// newSender returns a sender that is not connected yet.
func newSender(cfg Config, log *zap.Logger) (*sender, error) {
	hook, err := newWebhook(cfg, log)
	if err != nil {
		return nil, err
	}
	clock := new(events.Skew)
	hook.clock = clock
	inHand := 2 * cfg.Concurrency
	return &sender{
		log: log, webhook: hook, backoff: cfg.backoff(),
		workers: cfg.Concurrency, drain: cfg.Lifecycle.ShutdownTimeout - teardown,
		pulling: service.NewFailureTracker(log, "pulling deliveries"),
		opening: service.NewFailureTracker(log, "opening connections to the webhook"),
		hand:    newHand(inHand),
		clock:   clock,
		fresh:   make(chan *item, inHand), doubtful: make(chan *item, inHand), ready: make(chan *item, inHand),
	}, nil
}

const provisionHint = "run: dispatch provision"

// hint adds what to do about what is not provisioned.
func hint(err error) error {
	if errors.Is(err, db.ErrNotMigrated) || errors.Is(err, events.ErrNotProvisioned) {
		return fmt.Errorf("%w; %s", err, provisionHint)
	}
	return err
}

func connected(err error) service.Status {
	if err == nil {
		return service.OK()
	}
	return service.Down(events.Reason(err))
}

func provisioned(err error) service.Status {
	switch {
	case err == nil:
		return service.OK()
	case errors.Is(err, db.ErrNotMigrated), errors.Is(err, events.ErrNotProvisioned):
		return service.Down(provisionHint)
	case events.Final(err):
		return service.Down(events.Reason(err))
	}
	return service.Down("not known")
}

// run is the sender's life: pull, load and attempt until ctx ends, then the
// drain.
func (s *sender) run(ctx context.Context) error {
	flight, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()

	var telling, keeping, taking, working sync.WaitGroup
	tellCtx, stopTelling := context.WithCancel(flight)
	defer stopTelling()
	telling.Go(func() { s.teller.Run(tellCtx) })
	keepCtx, stopKeeping := context.WithCancel(flight)
	defer stopKeeping()
	keeping.Go(func() { s.keep(keepCtx) })
	s.tellTime(ctx)
	keeping.Go(func() { s.keepTime(keepCtx) })
	s.naks = newNakBudget(s.queue.Unacked)
	s.naks.look(ctx)
	keeping.Go(func() { s.naks.run(keepCtx) })
	for range s.workers {
		working.Go(func() { s.work(ctx, flight) })
	}
	taking.Go(func() { s.loadFresh(ctx) })
	taking.Go(func() { s.loadDoubtful(ctx) })
	taking.Go(func() { s.pull(ctx) })

	<-ctx.Done()
	time.AfterFunc(s.drain, cut)
	taking.Wait()
	failpoint.At(failpoint.SenderDraining)
	// Only now, or they would come back to the last pull of this sender.
	for _, it := range s.hand.waiting() {
		s.giveBack(it, 0, reasonShutdown)
		failpoint.At(failpoint.SenderReturned)
	}
	working.Wait()
	stopTelling()
	telling.Wait()
	stopKeeping()
	keeping.Wait()
	failpoint.At(failpoint.SenderDrained)
	if err := s.queue.Flush(flight); err != nil {
		s.log.Warn("what was given back may wait for its ack wait", zap.String("error", service.Redact(err.Error())))
	}
	return nil
}

// work attempts one item after the other until ctx ends.
func (s *sender) work(ctx, flight context.Context) {
	for {
		select {
		case it := <-s.ready:
			if s.eventsAway.wait(ctx) && s.awaitHold(ctx, it) && s.hand.begin(it) && !s.deliver(flight, it) {
				pause(ctx, exhaustedPause)
			}
		case <-ctx.Done():
			return
		}
	}
}

// awaitHold returns once a copy is held for longer than a request may take, or
// has lapsed; false when ctx ends first. It waits only while signs of life
// don't reach NATS: a request that is begun then could still be under way when
// the server gives the copy to another sender.
func (s *sender) awaitHold(ctx context.Context, it *item) bool {
	for !it.Outlasts(s.webhook.longest()) && !it.Lapsed() {
		if !pause(ctx, publishPause) {
			return false
		}
	}
	return true
}

// roamer leaves a NATS server that does not reach every stream.
func roamer(js jetstream.JetStream, topology events.Topology, log *zap.Logger) events.Roamer {
	return events.NewRoamer(js, topology, func(server string) {
		log.Warn("this NATS server does not reach every stream; trying another", zap.String("server", server))
	})
}
