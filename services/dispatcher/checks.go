package dispatcher

import (
	"context"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// checkQueue reports when the work queue holds so much, mostly scheduled
// retries, that nothing more is emitted. Another check reports that NATS is
// unreachable.
func checkQueue(js *jetstream.Client) service.Check {
	return func(ctx context.Context) service.Status {
		filling, err := deliveries.MeasureFilling(ctx, js)
		switch {
		case err != nil:
			return service.OK()
		case filling.Overflows():
			return service.Down("the work queue is nearly full, and drops the oldest beyond that: raise DELIVERIES_MAX_BYTES, and run dispatch provision")
		case filling.Full():
			return service.Degraded("the work queue is half full of scheduled retries: nothing is emitted until there is room")
		}
		return service.OK()
	}
}
