package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/embedded"
	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
	"github.com/message-dispatcher/dispatch/pkg/redact"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Bench is where is measured. Its runs may not overlap: each would measure
// the others too.
type Bench struct {
	options Options
	stack   *embedded.Stack
	nats    settings.NATS
	given   struct{ postgres, nats, redis bool }
	filled  string // the database that each run begins with a copy of; empty: with an empty one
	undo    []func(context.Context) error
}

// tidyLimit is how long removing everything may take.
const tidyLimit = time.Minute

// addresses are what Options.Servers may say.
type addresses struct {
	Postgres settings.Postgres
	NATS     settings.NATS
	Redis    settings.Redis
}

// Validate reports what only the drivers find wrong.
func (a addresses) Validate() error {
	return errors.Join(a.Postgres.ValidateWith(dbpool.CheckURL), a.Redis.ValidateWith(cache.CheckURL))
}

// Open starts the servers that are not given, and stores what is to be there
// beforehand. Mistakes in the addresses are a *service.ConfigError. After an
// error nothing is left, or the error says what.
func Open(ctx context.Context, options Options) (_ *Bench, err error) {
	b := &Bench{options: options.withDefaults()}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close(ctx))
		}
	}()
	servers, err := b.read()
	if err != nil {
		return nil, err
	}
	dir, err := b.directory()
	if err != nil {
		return nil, err
	}
	start := embedded.Config{Dir: dir, NATSListen: "127.0.0.1:0", Logger: b.options.Log.Named("local")}
	if b.given.postgres {
		start.DatabaseURL = servers.Postgres.URL()
	}
	if b.given.nats {
		start.NATSURL = servers.NATS.URL
	}
	if b.given.redis {
		start.RedisURL = servers.Redis.URL()
	}
	if b.stack, err = embedded.Start(ctx, start); err != nil {
		return nil, err
	}
	b.later(b.stack.Stop)
	if err := b.greet(ctx); err != nil {
		return nil, err
	}
	if b.options.Stored > 0 {
		if err := b.store(ctx); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// read reads the addresses. Everything else that the environment sets up is
// left aside: what is measured is what the options say.
func (b *Bench) read() (addresses, error) {
	env := settings.Environment{}
	for _, name := range []string{
		"DATABASE_URL", "DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD",
		"NATS_URL", "NATS_REPLICAS", "REDIS_URL", "REDIS_HOST", "REDIS_PORT",
	} {
		if value := b.options.Servers[name]; value != "" {
			env[name] = value
		}
	}
	b.given.postgres = env["DATABASE_URL"] != "" || env["DB_HOST"] != ""
	b.given.nats = env["NATS_URL"] != ""
	b.given.redis = env["REDIS_URL"] != "" || env["REDIS_HOST"] != ""
	if !b.given.postgres {
		env["DATABASE_URL"] = "postgres://127.0.0.1:1/started-here"
	}
	if !b.given.nats {
		delete(env, "NATS_REPLICAS") // the one that is started is alone
	}
	servers, err := settings.Parse[addresses](env)
	b.nats = servers.NATS
	return servers, err
}

// directory is where started servers keep their data; it goes with the bench,
// also if that is killed.
func (b *Bench) directory() (string, error) {
	dir, err := os.MkdirTemp(b.options.Dir, "dispatch-bench-")
	if err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	release, err := process.RemoveAtDeath(dir)
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	b.later(func(context.Context) error {
		defer release()
		return os.RemoveAll(dir)
	})
	return dir, nil
}

// greet makes sure that given servers let us do what we will, and says which
// ones they are.
func (b *Bench) greet(ctx context.Context) error {
	var used []string
	if b.given.postgres {
		if err := b.findLeftovers(ctx); err != nil {
			return err
		}
		used = append(used, redact.Text(b.stack.DatabaseURL))
	}
	if b.given.nats {
		used = append(used, redact.Text(b.stack.NATSURL))
	}
	if b.given.redis {
		if err := pingRedis(ctx, b.stack.RedisURL); err != nil {
			return err
		}
		used = append(used, redact.Text(b.stack.RedisURL))
	}
	if len(used) > 0 {
		b.options.Notice("measuring on " + strings.Join(used, ", ") + ": in a database and under names of its own, which are removed afterwards")
	}
	return nil
}

// later has something undone by Close, what came last first.
func (b *Bench) later(undo func(context.Context) error) { b.undo = append(b.undo, undo) }

// Close stops what Open started and removes what it made, also when ctx has
// ended. Its error names what is left.
func (b *Bench) Close(ctx context.Context) error {
	undo := b.undo
	b.undo = nil
	return undoAll(ctx, undo)
}

// undoAll undoes everything, the last first, whatever fails.
func undoAll(ctx context.Context, undo []func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyLimit)
	defer cancel()
	var errs []error
	for i := len(undo) - 1; i >= 0; i-- {
		errs = append(errs, undo[i](ctx))
	}
	return errors.Join(errs...)
}
