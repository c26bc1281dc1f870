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
	// stopTimeout is how long a stop tries to publish earlier claims.
	stopTimeout = 10 * time.Second
	// requestTimeout bounds each request, maxRequests is how many are served at
	// a time.
	requestTimeout = stopTimeout + 2*time.Second
	maxRequests    = 16
	// recheckClaims is how often a stop checks whether the claims are published.
	recheckClaims = 50 * time.Millisecond

	requestIDHeader = "X-Request-Id"
)

// Control serves requests about the pace: the NATS micro service
// dispatch-control. One of the dispatchers responds to each request.
type Control struct {
	component.Base
	ticker    *Ticker
	relay     *outbox.Relay
	instances *rpc.Instances
}

// NewControl returns a Control for the pace of ticker. A stop uses relay for
// claims that their owner did not publish.
func NewControl(base component.Base, ticker *Ticker, relay *outbox.Relay, instances *rpc.Instances) *Control {
	return &Control{Base: base, ticker: ticker, relay: relay, instances: instances}
}

// Run serves requests until ctx ends, and finishes those that it has.
func (c *Control) Run(ctx context.Context) error {
	requests := rpc.NewResponder(c.JS.Conn(), maxRequests)
	controls, err := micro.AddService(c.JS.Conn(), micro.Config{
		Name:        events.ControlService,
		Version:     rpc.ServiceVersion(service.Version()),
		Description: "Starts, stops and configures the pace of the dispatcher, and reports its status",
		Metadata:    c.JS.Metadata(),
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
		handler := requests.Handler(func(data []byte, headers micro.Headers) rpc.Response {
			return c.respond(work, request{verb: verb, id: headers.Get(requestIDHeader), body: data}, do)
		})
		if err := controls.AddEndpoint(verb, handler, micro.WithEndpointSubject(c.JS.ControlSubject(verb))); err != nil {
			return errors.Join(fmt.Errorf("register %s: %w", c.JS.ControlSubject(verb), err), controls.Stop())
		}
	}
	<-ctx.Done()
	err = controls.Stop()
	last, cancel := context.WithTimeout(work, requestTimeout)
	defer cancel()
	return errors.Join(err, requests.Wait(last))
}

type request struct {
	verb string
	id   string // as the client calls it; may be empty
	body []byte
}

// respond calls do and returns its result, or the problem that describes its
// error.
func (c *Control) respond(ctx context.Context, req request, do func(context.Context, []byte) (message.Overview, error)) rpc.Response {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	overview, err := do(ctx, req.body)
	if err == nil {
		var body []byte
		if body, err = json.Marshal(overview); err == nil {
			return rpc.Response{Body: body}
		}
	}
	if req.id == "" {
		req.id = message.NewID(time.Now()).String()
	}
	p := problemOf(err)
	if p.Code == message.ProblemInternal {
		c.Log.Error("a request failed", zap.String("verb", req.verb), zap.String("request", req.id), zap.Error(err))
	}
	p.RequestID = req.id
	return rpc.Response{Problem: p}
}

// start lets ticks run. It may be called at any time and any number of times.
func (c *Control) start(ctx context.Context, _ []byte) (message.Overview, error) {
	changed, err := c.setRunning(ctx, true)
	if err != nil {
		return message.Overview{}, err
	}
	return c.overviewAfter(ctx, changed)
}

// stop lets no further tick run. It returns when every earlier claim is
// published, so that from then on no process emits a new id. It returns
// errUnpublished when that takes too long; the pace is stopped nevertheless.
func (c *Control) stop(ctx context.Context, _ []byte) (message.Overview, error) {
	changed, err := c.setRunning(ctx, false)
	if err != nil {
		return message.Overview{}, err
	}
	if err := c.publishClaims(ctx); err != nil {
		return message.Overview{}, err
	}
	failpoint.At(failpoint.PaceStopped)
	return c.overviewAfter(ctx, changed)
}

// setRunning starts or stops the pace. It waits for a tick that is in progress.
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
	c.ticker.ScheduleChanged()
	return changed, nil
}

// publishClaims waits until the owners of all claims have published them. It
// relays the claims that their owners did not publish in time.
func (c *Control) publishClaims(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
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
				c.Log.Warn("relay the claims made before the stop", zap.Error(err))
			}
		}
		if !service.Sleep(ctx, recheckClaims) {
			return errUnpublished
		}
	}
}

// configure changes the interval, the batch size or both.
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
	c.ticker.ScheduleChanged()
	return c.status(ctx, nil)
}

// status returns the pace, the counts of messages and the instances.
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

// overviewAfter returns the status after a start or a stop, and whether that
// has changed anything.
func (c *Control) overviewAfter(ctx context.Context, changed bool) (message.Overview, error) {
	overview, err := c.status(ctx, nil)
	overview.Changed = &changed
	return overview, err
}
