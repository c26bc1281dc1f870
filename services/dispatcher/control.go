package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

const (
	// stopWait is how long a stop tries to publish what was claimed before.
	stopWait = 10 * time.Second
	// controlWait bounds every request, and controlParallel how many are
	// worked on at a time.
	controlWait     = stopWait + 2*time.Second
	controlParallel = 16
	requestIDHeader = "X-Request-Id"
)

// control answers requests about the pace: the micro service
// dispatch-control. One instance answers each request.
type control struct {
	store     *db.Store
	js        jetstream.JetStream
	topology  events.Topology
	ticker    *ticker
	relay     *relay
	instances *events.Instances
	log       *zap.Logger
}

// Run answers until ctx ends, and finishes the requests that it has.
func (c *control) Run(ctx context.Context) error {
	requests := events.NewConcurrent(c.js.Conn(), controlParallel)
	controls, err := micro.AddService(c.js.Conn(), micro.Config{
		Name:        events.ControlService,
		Version:     events.ServiceVersion(service.Version()),
		Description: "Starts, stops and configures the pace of the dispatcher, and tells where it stands",
		Metadata:    c.topology.Metadata(),
	})
	if err != nil {
		return fmt.Errorf("register %s: %w", events.ControlService, err)
	}
	work := context.WithoutCancel(ctx)
	for verb, do := range map[string]func(context.Context, []byte) (message.Overview, error){
		"start":     c.start,
		"stop":      c.stop,
		"status":    c.status,
		"configure": c.configure,
	} {
		handler := requests.Handler(func(data []byte, headers micro.Headers) events.Answer {
			return c.answer(work, verb, headers.Get(requestIDHeader), func(ctx context.Context) (message.Overview, error) { return do(ctx, data) })
		})
		if err := controls.AddEndpoint(verb, handler, micro.WithEndpointSubject(c.topology.Control(verb))); err != nil {
			return errors.Join(fmt.Errorf("register %s: %w", c.topology.Control(verb), err), controls.Stop())
		}
	}
	<-ctx.Done()
	err = controls.Stop()
	last, cancel := context.WithTimeout(work, controlWait)
	defer cancel()
	return errors.Join(err, requests.Wait(last))
}

func (c *control) answer(ctx context.Context, verb, requestID string, do func(context.Context) (message.Overview, error)) events.Answer {
	ctx, cancel := context.WithTimeout(ctx, controlWait)
	defer cancel()
	overview, err := do(ctx)
	if err == nil {
		var body []byte
		if body, err = json.Marshal(overview); err == nil {
			return events.Answer{Body: body}
		}
	}
	if requestID == "" {
		requestID = message.NewID(time.Now()).String()
	}
	p := problemOf(err)
	if p.Code == message.ProblemInternal {
		c.log.Error("a request failed", zap.String("verb", verb), zap.String("request", requestID), zap.Error(err))
	}
	p.RequestID = requestID
	return events.Answer{Problem: p}
}

// start lets ticks run. It may be called at any time and any number of times.
func (c *control) start(ctx context.Context, _ []byte) (message.Overview, error) {
	changed, err := c.setRunning(ctx, true)
	if err != nil {
		return message.Overview{}, err
	}
	return c.changed(ctx, changed)
}

// stop lets no further tick run, and returns when what was claimed before is
// published, so that from then on no new id is emitted by anyone. It returns
// errUnpublished when that takes too long: stopped it is all the same.
func (c *control) stop(ctx context.Context, _ []byte) (message.Overview, error) {
	changed, err := c.setRunning(ctx, false)
	if err != nil {
		return message.Overview{}, err
	}
	if err := c.publishClaimed(ctx); err != nil {
		return message.Overview{}, err
	}
	failpoint.At(failpoint.PaceStopped)
	return c.changed(ctx, changed)
}

// setRunning waits for a tick that is under way.
func (c *control) setRunning(ctx context.Context, running bool) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait+publishWithin)
	defer cancel()
	if changed, err = c.store.SetRunning(ctx, running); err != nil {
		return false, err
	}
	failpoint.At(failpoint.PaceChanged)
	if changed {
		c.log.Info("the pace was changed", zap.Bool("running", running))
	}
	c.ticker.Poke()
	return changed, nil
}

// publishClaimed waits until the owners of all claims have published them, and
// relays what they did not when their time for that is over.
func (c *control) publishClaimed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	for {
		claims, err := c.store.UnpublishedClaims(ctx, 0)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case err == nil && len(claims) == 0:
			return nil
		case err == nil && claims[0].Age > relayAge:
			if err := c.relay.Round(ctx); err != nil && ctx.Err() == nil {
				c.log.Warn("relay what was claimed before the stop", zap.Error(err))
			}
		}
		select {
		case <-ctx.Done():
			return errUnpublished
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// configure changes interval, batch size or both.
func (c *control) configure(ctx context.Context, body []byte) (message.Overview, error) {
	config, err := message.ParseConfiguration(body)
	if err != nil {
		return message.Overview{}, err
	}
	if err := c.store.Configure(ctx, config.Interval, config.BatchSize); err != nil {
		return message.Overview{}, err
	}
	failpoint.At(failpoint.PaceConfigured)
	c.log.Info("the pace was configured", zap.ByteString("change", body))
	c.ticker.Poke()
	return c.status(ctx, nil)
}

// status measures where everything stands.
func (c *control) status(ctx context.Context, _ []byte) (message.Overview, error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	overview, err := c.store.Overview(ctx)
	if err != nil {
		return message.Overview{}, err
	}
	if overview.Instances = c.instances.List(); overview.Instances == nil {
		overview.Instances = []message.Instance{}
	}
	return overview, nil
}

func (c *control) changed(ctx context.Context, changed bool) (message.Overview, error) {
	overview, err := c.status(ctx, nil)
	overview.Changed = &changed
	return overview, err
}
