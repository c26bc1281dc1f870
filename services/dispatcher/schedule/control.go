package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/micro"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/rpc"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
	"github.com/message-dispatcher/dispatch/services/dispatcher/outbox"
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

// Control answers requests about the pace: the micro service
// dispatch-control. One instance answers each request.
type Control struct {
	component.Base
	ticker    *Ticker
	relay     *outbox.Relay
	instances *rpc.Instances
}

// NewControl returns one that is ready to answer.
func NewControl(base component.Base, ticker *Ticker, relay *outbox.Relay, instances *rpc.Instances) *Control {
	return &Control{Base: base, ticker: ticker, relay: relay, instances: instances}
}

// Run answers until ctx ends, and finishes the requests that it has.
func (c *Control) Run(ctx context.Context) error {
	requests := rpc.NewConcurrent(c.JS.Conn(), controlParallel)
	controls, err := micro.AddService(c.JS.Conn(), micro.Config{
		Name:        events.ControlService,
		Version:     rpc.ServiceVersion(service.Version()),
		Description: "Starts, stops and configures the pace of the dispatcher, and tells where it stands",
		Metadata:    c.Topology.Metadata(),
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
		handler := requests.Handler(func(data []byte, headers micro.Headers) rpc.Answer {
			return c.answer(work, verb, headers.Get(requestIDHeader), func(ctx context.Context) (message.Overview, error) { return do(ctx, data) })
		})
		if err := controls.AddEndpoint(verb, handler, micro.WithEndpointSubject(c.Topology.Control(verb))); err != nil {
			return errors.Join(fmt.Errorf("register %s: %w", c.Topology.Control(verb), err), controls.Stop())
		}
	}
	<-ctx.Done()
	err = controls.Stop()
	last, cancel := context.WithTimeout(work, controlWait)
	defer cancel()
	return errors.Join(err, requests.Wait(last))
}

func (c *Control) answer(ctx context.Context, verb, requestID string, do func(context.Context) (message.Overview, error)) rpc.Answer {
	ctx, cancel := context.WithTimeout(ctx, controlWait)
	defer cancel()
	overview, err := do(ctx)
	if err == nil {
		var body []byte
		if body, err = json.Marshal(overview); err == nil {
			return rpc.Answer{Body: body}
		}
	}
	if requestID == "" {
		requestID = message.NewID(time.Now()).String()
	}
	p := problemOf(err)
	if p.Code == message.ProblemInternal {
		c.Log.Error("a request failed", zap.String("verb", verb), zap.String("request", requestID), zap.Error(err))
	}
	p.RequestID = requestID
	return rpc.Answer{Problem: p}
}

// start lets ticks run. It may be called at any time and any number of times.
func (c *Control) start(ctx context.Context, _ []byte) (message.Overview, error) {
	changed, err := c.setRunning(ctx, true)
	if err != nil {
		return message.Overview{}, err
	}
	return c.changed(ctx, changed)
}

// stop lets no further tick run, and returns when what was claimed before is
// published, so that from then on no new id is emitted by anyone. It returns
// errUnpublished when that takes too long: stopped it is all the same.
func (c *Control) stop(ctx context.Context, _ []byte) (message.Overview, error) {
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
func (c *Control) setRunning(ctx context.Context, running bool) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout+component.PublishTimeout)
	defer cancel()
	if changed, err = c.Store.SetRunning(ctx, running); err != nil {
		return false, err
	}
	failpoint.At(failpoint.PaceChanged)
	if changed {
		c.Log.Info("the pace was changed", zap.Bool("running", running))
	}
	c.ticker.Poke()
	return changed, nil
}

// publishClaimed waits until the owners of all claims have published them, and
// relays what they did not when their time for that is over.
func (c *Control) publishClaimed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	for {
		claims, err := c.Store.UnpublishedClaims(ctx, 0)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case err == nil && len(claims) == 0:
			return nil
		case err == nil && claims[0].Age > outbox.AbandonedAfter:
			if err := c.relay.Round(ctx); err != nil && ctx.Err() == nil {
				c.Log.Warn("relay what was claimed before the stop", zap.Error(err))
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
func (c *Control) configure(ctx context.Context, body []byte) (message.Overview, error) {
	config, err := message.ParseConfiguration(body)
	if err != nil {
		return message.Overview{}, err
	}
	if err := c.Store.Configure(ctx, config.Interval, config.BatchSize); err != nil {
		return message.Overview{}, err
	}
	failpoint.At(failpoint.PaceConfigured)
	c.Log.Info("the pace was configured", zap.ByteString("change", body))
	c.ticker.Poke()
	return c.status(ctx, nil)
}

// status measures where everything stands.
func (c *Control) status(ctx context.Context, _ []byte) (message.Overview, error) {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	overview, err := c.Store.Overview(ctx)
	if err != nil {
		return message.Overview{}, err
	}
	if overview.Instances = c.instances.List(); overview.Instances == nil {
		overview.Instances = []message.Instance{}
	}
	return overview, nil
}

func (c *Control) changed(ctx context.Context, changed bool) (message.Overview, error) {
	overview, err := c.status(ctx, nil)
	overview.Changed = &changed
	return overview, err
}
