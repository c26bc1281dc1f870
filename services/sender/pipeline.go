package sender

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/sender/backpressure"
	"github.com/message-dispatcher/dispatch/services/sender/inflight"
	"github.com/message-dispatcher/dispatch/services/sender/outcome"
	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// delivery is a delivery on its way through the pipeline. Each stage adds what
// the following ones need.
type delivery struct {
	*inflight.Entry
	verified bool // verify: what became of its claim before is in Postgres

	found bool            // load: the row is QUEUED or RETRYING
	row   message.Message // load

	number  int               // sign: of the attempt, from 1
	request transport.Request // sign

	expired  bool               // attempt: there was none, since the message has expired
	started  time.Time          // attempt: by Postgres' clock
	took     time.Duration      // attempt
	response transport.Response // attempt
	failure  *transport.Error   // attempt: nil if there is a response

	result outcome.Result // classify
}

// heldPerWorker is how many deliveries are held for each request that may be in
// flight.
const heldPerWorker = 2

// step says what follows a stage.
type step int

const (
	next step = iota // the next stage
	done             // nothing: the delivery is settled, returned, or left to the server
)

// stage is a step of one delivery that a worker makes.
type stage interface {
	run(ctx context.Context, d *delivery) step
}

// pipeline is the main flow of a sender.
type pipeline struct {
	queue    *deliveries.Receiver
	inFlight *inflight.Set
	state    *conditions
	workers  int
	longest  time.Duration // how long one attempt may take

	first      chan *delivery // nobody can have had these before
	unverified chan *delivery
	ready      chan *delivery // to be sent

	release releaser
	verify  *verifyStage
	load    *loadStage
	gate    *gateStage
	each    []stage
}

// newPipeline is the one place that shows the order of the stages. The stages
// up to the gate take a batch, because one query loads all its rows; the
// others take one delivery, in as many workers as requests may be in flight.
func newPipeline(p parts) *pipeline {
	held := heldPerWorker * p.cfg.Concurrency
	first, unverified, ready := make(chan *delivery, held), make(chan *delivery, held), make(chan *delivery, held)
	release := releaser{p.log, p.metrics, p.inFlight}
	settle := newSettleStage(p)
	return &pipeline{
		queue: p.queue, inFlight: p.inFlight, state: p.state, workers: p.cfg.Concurrency,
		longest: transport.Longest(p.cfg.Destination.Timeout),
		first:   first, unverified: unverified, ready: ready, release: release,

		verify: &verifyStage{p.log, p.recorder, release, unverified},
		load:   &loadStage{p.log, p.store, p.inFlight, &p.state.postgres},
		gate: &gateStage{
			log: p.log, clock: p.clock, queue: p.queue, inFlight: p.inFlight, release: release, settle: settle, unverified: unverified,
		},
		each: []stage{
			&signStage{p.destination, p.clock},
			&attemptStage{log: p.log, transport: p.transport, clock: p.clock, state: p.state, metrics: p.metrics, settle: settle},
			&classifyStage{p.log, p.destination, p.store},
			settle,
		},
	}
}

// run pulls, loads and sends until ctx ends. Then it returns what has not
// begun, and finishes the requests in flight while flight lasts.
func (p *pipeline) run(ctx, flight context.Context) {
	var taking, working sync.WaitGroup
	for range p.workers {
		working.Go(func() { p.work(ctx, flight) })
	}
	taking.Go(func() { p.prepare(ctx, p.first) })
	taking.Go(func() { p.prepare(ctx, p.unverified) })
	taking.Go(func() { p.pull(ctx) })

	<-ctx.Done()
	taking.Wait()
	failpoint.At(failpoint.SenderDraining)
	// Only now, or the returned deliveries would come back to the last pull of this
	// sender.
	for _, d := range p.inFlight.TakeWaiting() {
		p.release.giveBack(d, 0, reasonShutdown)
		failpoint.At(failpoint.SenderReturned)
	}
	working.Wait()
}

// prepare brings deliveries of one kind through the stages that take a batch.
func (p *pipeline) prepare(ctx context.Context, from <-chan *delivery) {
	var all service.Batch[*delivery] // without bounds
	for batch := all.Gather(ctx, from); batch != nil; batch = all.Gather(ctx, from) {
		began := time.Now()
		batch = p.verify.run(ctx, batch)
		for len(batch) > 0 && ctx.Err() == nil {
			var loaded []*delivery
			loaded, batch = p.load.run(ctx, batch)
			for _, d := range loaded {
				if p.gate.run(ctx, d) == next {
					p.ready <- d
				}
			}
		}
		// Under load the next batch is larger for this. A single delivery after a
		// quiet time waits for nothing.
		service.Sleep(ctx, min(time.Since(began), maxLoadPause))
	}
}

// work sends one delivery after the other until ctx ends.
func (p *pipeline) work(ctx, flight context.Context) {
	for {
		select {
		case d := <-p.ready:
			if p.state.events.Wait(ctx) && p.awaitLease(ctx, d) && p.inFlight.Begin(d.Entry) {
				p.send(flight, d)
				if d.failure != nil && d.failure.Local {
					// Another attempt at once would only take one more message from
					// the senders that have connections.
					service.Sleep(ctx, backpressure.LocalPause)
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// send brings a delivery through the stages that take one. ctx outlives the
// sender's own context by the time of a drain.
func (p *pipeline) send(ctx context.Context, d *delivery) {
	defer p.inFlight.Remove(d.Entry)
	if !d.Outlasts(p.longest) {
		p.release.count(reasonLeaseExpired)
		return
	}
	for _, s := range p.each {
		if s.run(ctx, d) == done {
			return
		}
	}
}

// awaitLease returns true once a delivery is held for longer than a request may
// take, or its lease has expired; it returns false if ctx ends first. It waits
// only while keep-alives don't reach NATS: a request that began then could still
// be under way when the server gives the delivery to another sender.
func (p *pipeline) awaitLease(ctx context.Context, d *delivery) bool {
	for !d.Outlasts(p.longest) && !d.HoldExpired() {
		if !service.Sleep(ctx, publishPause) {
			return false
		}
	}
	return true
}

// conditions are what keeps a sender from its work, and what health shows of
// it.
type conditions struct {
	events      backpressure.Outage // status events can't be published
	postgres    backpressure.Outage
	pulling     *service.FailureTracker
	connections *service.FailureTracker
}

func newConditions(log *zap.Logger) *conditions {
	return &conditions{
		pulling:     service.NewFailureTracker(log, "pulling deliveries"),
		connections: service.NewFailureTracker(log, "opening connections to the webhook"),
	}
}

// showIn adds the conditions to health. The dependencies may seem well all the
// while: a stream takes nothing more, or a table can't be read.
func (c *conditions) showIn(health *service.Health) {
	health.Add("events", service.StateDown, func(context.Context) service.Status {
		return c.events.Status("status events can't be published; nothing new is sent")
	})
	health.Add("messages", service.StateDown, func(context.Context) service.Status {
		return c.postgres.Status("messages can't be read from Postgres; nothing new is sent")
	})
	health.Watch("deliveries", service.StateDown, c.pulling)
	health.Watch("connections", service.StateDown, c.connections)
}
