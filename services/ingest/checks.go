package ingest

import (
	"context"
	"errors"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// checkNATS checks the connection and the streams. Ingest works without them, so
// the worst state is degraded.
func checkNATS(js *jetstream.Client) service.Check {
	return func(ctx context.Context) service.Status {
		err := streams.Check(ctx, js)
		switch {
		case err == nil:
			return service.OK()
		case errors.Is(err, jetstream.ErrUnavailable):
			return service.Degraded(jetstream.Reason(err) + ": messages are accepted over HTTP and published later")
		}
		return service.Degraded(jetstream.Reason(err))
	}
}

// checkMaxPayload reports what is too large for NATS' max_payload.
func checkMaxPayload(js *jetstream.Client, needs jetstream.PayloadNeeds) service.Check {
	return func(context.Context) service.Status {
		if missing := needs.Missing(js.Conn()); missing != "" {
			return service.Degraded(missing)
		}
		return service.OK()
	}
}

// checkProvisioned says what to run if something is missing in Postgres. Without
// the schedule, only the status is unavailable.
func checkProvisioned(schema, schedule func(context.Context) error) service.Check {
	return func(ctx context.Context) service.Status {
		err := schema(ctx)
		if errors.Is(err, migrate.ErrNotMigrated) {
			return service.Down("run: dispatch provision")
		}
		if err == nil {
			err = schedule(ctx)
		}
		switch {
		case err == nil:
			return service.OK()
		case errors.Is(err, db.ErrNotProvisioned):
			return service.Degraded("run: dispatch provision")
		}
		return service.Down("can't be looked up")
	}
}
