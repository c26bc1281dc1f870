package sender

import (
	"context"
	"fmt"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/internal/bootstrap"
	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

const (
	pullPause = 250 * time.Millisecond // after a pull that failed
	// keepAliveRetry is how soon keep-alives are tried again after a failure.
	keepAliveRetry = time.Second
)

// pull takes ids off the queue while there is space for them and nothing is
// away, until ctx ends. It returns only when every id that the server has sent
// is held.
func (p *pipeline) pull(ctx context.Context) {
	for p.state.events.Wait(ctx) && p.state.postgres.Wait(ctx) {
		reserved := p.inFlight.Reserve(ctx)
		if reserved == 0 {
			return
		}
		err := p.checkAckWait()
		if err == nil {
			err = p.queue.Fetch(ctx, reserved, func(c *deliveries.Delivery) { reserved--; p.arrive(c) })
		}
		p.inFlight.Unreserve(reserved)
		if ctx.Err() == nil {
			p.state.pulling.Report(err)
		}
		if err != nil {
			service.Sleep(ctx, pullPause)
		}
	}
}

// checkAckWait returns an error if the server would not wait as long as a
// request may take: no request could begin.
func (p *pipeline) checkAckWait() error {
	if p.queue.Outlasts(p.longest) {
		return nil
	}
	return fmt.Errorf("the ack wait of the senders' consumer is %s, too short for WEBHOOK_TIMEOUT=%s; %s",
		p.queue.AckWait(), p.longest-transport.BodyTimeout, bootstrap.ProvisionHint)
}

// arrive sorts a delivery. The channels have space for all that are held, so
// sending never waits.
func (p *pipeline) arrive(c *deliveries.Delivery) {
	d := &delivery{Entry: p.inFlight.Add(c)}
	failpoint.At(failpoint.SenderPulled)
	if d.Unverified() {
		p.unverified <- d
		return
	}
	p.first <- d
}

// keepAlive extends the lease of every delivery again and again until ctx
// ends.
func (p *pipeline) keepAlive(ctx context.Context) {
	every := p.queue.KeepAliveInterval()
	for service.Sleep(ctx, every) { // not jittered, since leases depend on it
		every = p.queue.KeepAliveInterval()
		held := p.inFlight.Held()
		if len(held) == 0 {
			continue
		}
		if err := p.queue.KeepAlive(ctx, held); err != nil && ctx.Err() == nil {
			every = min(every, keepAliveRetry)
		}
	}
}
