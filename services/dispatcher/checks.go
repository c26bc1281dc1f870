package dispatcher

import (
	"context"
	"errors"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

func checkNATS(js *jetstream.Client) service.Check {
	return func(context.Context) service.Status {
		if err := jetstream.CheckServer(js.Conn()); err != nil {
			return service.Down(jetstream.Reason(err))
		}
		return service.OK()
	}
}

// checkProvisioned reports what is missing. A dependency that is unreachable has
// a check of its own.
func checkProvisioned(check func(context.Context) error) service.Check {
	return func(ctx context.Context) service.Status {
		err := check(ctx)
		switch {
		case err == nil:
			return service.OK()
		case errors.Is(err, migrate.ErrNotMigrated), errors.Is(err, db.ErrNotProvisioned), errors.Is(err, jetstream.ErrNotProvisioned):
			return service.Down("run: dispatch provision")
		case jetstream.Final(err):
			return service.Down(jetstream.Reason(err))
		}
		return service.Down("can't be looked up")
	}
}

func checkRedis(redis *cache.Cache) service.Check {
	return func(ctx context.Context) service.Status {
		if err := redis.Ping(ctx); err != nil {
			return service.Degraded(cache.Reason(err) + "; its copy is brought up to date when it is back")
		}
		return service.OK()
	}
}

// checkQueue reports when the work queue holds so much, mostly scheduled
// retries, that nothing more is emitted. Another check reports that NATS is
// unreachable.
func checkQueue(js *jetstream.Client) service.Check {
	return func(ctx context.Context) service.Status {
		filling, err := deliveries.DeliveriesFilling(ctx, js)
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
