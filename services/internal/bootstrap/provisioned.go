package bootstrap

import (
	"context"
	"errors"
	"fmt"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// ProvisionHint is what to do if something is missing.
const ProvisionHint = "run: dispatch provision"

// CheckSchema returns an error if the schema in Postgres is missing or older than
// this program. A missing one names the command that makes it.
func (s *Service) CheckSchema(ctx context.Context) error {
	return Hint(migrate.Check(ctx, s.Pool))
}

// AwaitProvisioned waits until check returns nil. what names what is waited for in
// the log. It returns false without an error when ctx ends first.
func (s *Service) AwaitProvisioned(ctx context.Context, what string, check func(context.Context) error) (bool, error) {
	err := service.WaitFor(ctx, s.Log, what, check)
	if ctx.Err() != nil {
		return false, nil //nolint:nilerr // stopped before it began
	}
	return err == nil, err
}

// Hint adds what to do to an error about something that is not provisioned.
func Hint(err error) error {
	if missing(err) {
		return fmt.Errorf("%w; %s", err, ProvisionHint)
	}
	return err
}

func missing(err error) bool {
	return errors.Is(err, migrate.ErrNotMigrated) || errors.Is(err, db.ErrNotProvisioned) || errors.Is(err, jetstream.ErrNotProvisioned)
}

// Provisioned makes a health check that shows what is missing. That a server is
// unreachable shows in a check of its own.
func Provisioned(check func(context.Context) error) service.Check {
	return func(ctx context.Context) service.Status {
		err := check(ctx)
		switch {
		case err == nil:
			return service.OK()
		case missing(err):
			return service.Down(ProvisionHint)
		case jetstream.Final(err):
			return service.Down(jetstream.Reason(err))
		}
		return service.Down("can't be looked up")
	}
}

// Connected makes a health check of the NATS server.
func (s *Service) Connected() service.Check {
	return func(context.Context) service.Status {
		if err := jetstream.CheckServer(s.JS.Conn()); err != nil {
			return service.Down(jetstream.Reason(err))
		}
		return service.OK()
	}
}
