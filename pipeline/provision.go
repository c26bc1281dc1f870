package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/crash"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// ProvisionConfig says what to provision.
type ProvisionConfig struct {
	Postgres service.Postgres
	NATS     service.NATS
	Log      service.Log

	ProcessingInterval time.Duration `env:"PROCESSING_INTERVAL" envDefault:"2m" help:"time between two ticks; 0 emits continuously, as soon as messages are due"`
	BatchSize          *int          `env:"BATCH_SIZE" help:"messages a tick emits; unset: 2 with an interval, 500 without"`
}

// Validate reports every mistake of the pace.
func (c ProvisionConfig) Validate() error {
	errs := []error{c.Postgres.ValidateWith(db.CheckURL)}
	if d := c.ProcessingInterval; d < 0 || d > message.MaxInterval || (d > 0 && d < time.Millisecond) {
		errs = append(errs, service.Invalid("PROCESSING_INTERVAL", d, fmt.Sprintf("must be 0 or from 1ms to %s", message.MaxInterval)))
	}
	if c.BatchSize != nil && (*c.BatchSize < 1 || *c.BatchSize > message.MaxBatchSize) {
		errs = append(errs, service.Invalid("BATCH_SIZE", *c.BatchSize, fmt.Sprintf("must be from 1 to %d", message.MaxBatchSize)))
	}
	return errors.Join(errs...)
}

// Provision brings schema, streams and schedule up to date. It waits for
// Postgres and NATS until ctx ends, also when they go away while it works, and
// may run at any time, also while services work and beside another Provision.
func Provision(ctx context.Context, cfg ProvisionConfig, log *zap.Logger) error {
	if err := provisionPostgres(ctx, cfg, log); err != nil {
		return err
	}
	crash.At(crash.ProvisionScheduled)
	js, err := events.Connect(cfg.NATS.URL, "dispatch-provision")
	if err != nil {
		return err
	}
	defer events.Close(js)
	topology := events.NewTopology(cfg.NATS.Prefix, cfg.NATS.Replicas)
	return service.WaitFor(ctx, log, "streams", func(ctx context.Context) error {
		if !js.Conn().IsConnected() {
			return events.ErrUnavailable
		}
		return topology.Provision(ctx, js, []string{message.DefaultDestination})
	})
}

func provisionPostgres(ctx context.Context, cfg ProvisionConfig, log *zap.Logger) error {
	pool, err := db.Open(ctx, cfg.Postgres.URL(), db.Options{Name: "dispatch-provision"})
	if err != nil {
		return err
	}
	defer db.Close(pool)
	if err := service.WaitFor(ctx, log, "postgres", pool.Ping); err != nil {
		return err
	}
	return service.WaitFor(ctx, log, "schema", func(context.Context) error {
		err := provisionSchema(ctx, cfg, pool) // which may take longer than one try of a wait
		if err != nil && !db.Interrupted(err) {
			return backoff.Permanent(err)
		}
		return err
	})
}

func provisionSchema(ctx context.Context, cfg ProvisionConfig, pool *pgxpool.Pool) error {
	if err := db.Migrate(ctx, pool); err != nil {
		return err
	}
	crash.At(crash.ProvisionMigrated)
	size := 0 // unset
	if cfg.BatchSize != nil {
		size = *cfg.BatchSize
	}
	return db.NewStore(pool).ProvisionSchedule(ctx, cfg.ProcessingInterval, size)
}
