package dispatcher

import (
	"errors"
	"fmt"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// minLease is the shortest lease. With a shorter one, every request in flight
// would look lost.
const minLease = time.Second

// minRetention is the shortest retention; 0 means forever. An event that a stream
// delivers again must find its message.
const minRetention = time.Hour

// Config is the configuration of a dispatcher.
type Config struct {
	Postgres  settings.Postgres
	NATS      settings.NATS
	Redis     settings.Redis
	Log       settings.Log
	Lifecycle service.Lifecycle

	Lease        time.Duration `env:"LEASE" envDefault:"5m" help:"how long an emitted id may have no outcome before a dispatcher looks for it, and emits it again if it is lost"`
	Retention    time.Duration `env:"RETENTION" envDefault:"720h" help:"how long messages and their attempts are kept after they are SENT, FAILED, CANCELLED or EXPIRED, at least 1h; 0: for ever"`
	EventContent string        `env:"EVENT_CONTENT" envDefault:"none" help:"full: events include content, payload and metadata; none: they do not"`
}

// Validate returns all errors in the dispatcher's own settings.
func (c Config) Validate() error {
	errs := []error{c.Postgres.ValidateWith(dbpool.CheckURL), c.Redis.ValidateWith(cache.CheckURL)}
	if c.Lease < minLease {
		errs = append(errs, settings.Invalid("LEASE", c.Lease, "must be at least "+minLease.String()))
	}
	if c.Retention != 0 && c.Retention < minRetention {
		errs = append(errs, settings.Invalid("RETENTION", c.Retention, "must be 0 (forever), or at least "+minRetention.String()))
	}
	errs = append(errs, settings.ValidEventContent(c.EventContent))
	return errors.Join(errs...)
}

// Warnings returns what is valid but probably not intended.
func (c Config) Warnings() []string {
	if c.Lease < events.SenderAckWait {
		return []string{fmt.Sprintf("LEASE=%s is shorter than an id may be with a sender (%s): requests in flight are looked for", c.Lease, events.SenderAckWait)}
	}
	return nil
}
