// Package provision brings schema, streams and schedule up to date. Services never
// create them.
package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Config says what to provision.
type Config struct {
	Postgres settings.Postgres
	NATS     settings.NATS
	Log      settings.Log

	ProcessingInterval time.Duration `env:"PROCESSING_INTERVAL" envDefault:"2m" help:"time between two ticks; 0: continuous mode, messages are emitted as soon as they are due"`
	BatchSize          *int          `env:"BATCH_SIZE" help:"maximum number of messages per tick; unset: 2 with an interval, 500 without"`

	MaxPayloadBytes int    `env:"MAX_PAYLOAD_BYTES" envDefault:"262144" help:"largest payload of a message, in bytes"`
	EventContent    string `env:"EVENT_CONTENT" envDefault:"none" help:"full: events include content, payload and metadata; none: they do not"`

	Sizes StreamSizes
}

// payloadNeeds are the requirements for NATS' max_payload.
func (c Config) payloadNeeds() jetstream.PayloadNeeds {
	return jetstream.PayloadNeeds{MaxPayloadBytes: c.MaxPayloadBytes, FullContent: c.EventContent == settings.EventContentFull}
}

// StreamSizes are the limits of the streams. JetStream reserves the space.
type StreamSizes struct {
	Intake     settings.Size `env:"INTAKE_MAX_BYTES" envDefault:"256MiB" help:"size of the stream INTAKE (messages that are not stored yet); a full stream refuses publishes"`
	Rejected   settings.Size `env:"REJECTED_MAX_BYTES" envDefault:"64MiB" help:"size of the stream REJECTED (invalid intake); a full stream drops the oldest"`
	Deliveries settings.Size `env:"DELIVERIES_MAX_BYTES" envDefault:"256MiB" help:"size of the stream DELIVERIES (work queue and scheduled retries); from half of it on nothing is emitted"`
	Events     settings.Size `env:"EVENTS_MAX_BYTES" envDefault:"512MiB" help:"size of the stream EVENTS; when it is nearly full, the oldest recorded events are removed"`
	Changes    settings.Size `env:"CHANGES_MAX_BYTES" envDefault:"128MiB" help:"size of the stream CHANGES (change notifications for Redis); a full stream drops the oldest"`
}

// Limits of a stream's size. Several of the largest messages must fit.
const (
	minStreamSize     = 16 << 20
	minDeliveriesSize = 64 << 20
	maxStreamSize     = 1 << 50
)

// Validate returns all errors of the block.
func (s StreamSizes) Validate() error {
	var errs []error
	for _, one := range []struct {
		variable  string
		size, min settings.Size
	}{
		{"INTAKE_MAX_BYTES", s.Intake, minStreamSize},
		{"REJECTED_MAX_BYTES", s.Rejected, minStreamSize},
		{"DELIVERIES_MAX_BYTES", s.Deliveries, minDeliveriesSize},
		{"EVENTS_MAX_BYTES", s.Events, minStreamSize},
		{"CHANGES_MAX_BYTES", s.Changes, minStreamSize},
	} {
		if one.size < one.min || one.size > maxStreamSize {
			errs = append(errs, settings.Invalid(one.variable, one.size, fmt.Sprintf("must be from %s to %s", one.min, settings.Size(maxStreamSize))))
		}
	}
	return errors.Join(errs...)
}

// Topology returns what Run provisions in NATS.
func (c Config) Topology() events.Topology {
	return events.NewTopology(c.NATS.Prefix, c.NATS.Replicas).WithStreamLimits(events.StreamLimits{
		Intake: int64(c.Sizes.Intake), Rejected: int64(c.Sizes.Rejected), Deliveries: int64(c.Sizes.Deliveries),
		Events: int64(c.Sizes.Events), Changes: int64(c.Sizes.Changes),
	})
}

// Validate returns all errors of the pace and the payload.
func (c Config) Validate() error {
	errs := []error{c.Postgres.ValidateWith(dbpool.CheckURL), settings.ValidPayloadBytes(c.MaxPayloadBytes), settings.ValidEventContent(c.EventContent)}
	if d := c.ProcessingInterval; d < 0 || d > message.MaxInterval || (d > 0 && d < time.Millisecond) {
		errs = append(errs, settings.Invalid("PROCESSING_INTERVAL", d, fmt.Sprintf("must be 0 or from 1ms to %s", message.MaxInterval)))
	}
	if c.BatchSize != nil && (*c.BatchSize < 1 || *c.BatchSize > message.MaxBatchSize) {
		errs = append(errs, settings.Invalid("BATCH_SIZE", *c.BatchSize, fmt.Sprintf("must be from 1 to %d", message.MaxBatchSize)))
	}
	return errors.Join(errs...)
}

// Run brings schema, streams and schedule up to date. It waits for Postgres and NATS
// until ctx ends, even if they fail while it works. It is safe to run at any time,
// also while services work and concurrently with another Run.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error {
	if err := provisionPostgres(ctx, cfg, log); err != nil {
		return err
	}
	failpoint.At(failpoint.ProvisionScheduled)
	js, err := jetstream.Connect(jetstream.Access(cfg.NATS.NATSAccess), cfg.Topology(), "dispatch-provision")
	if err != nil {
		return err
	}
	defer js.Close()
	return service.WaitFor(ctx, log, "streams", func(ctx context.Context) error {
		err := provisionStreams(ctx, cfg, js, log)
		if jetstream.Final(err) {
			return backoff.Permanent(err)
		}
		return err
	})
}

// provisionStreams logs the streams that change their size.
func provisionStreams(ctx context.Context, cfg Config, js *jetstream.Client, log *zap.Logger) error {
	if missing := cfg.payloadNeeds().Missing(js.Conn()); missing != "" {
		log.Warn(missing)
	}
	resizes, err := streams.Resizes(ctx, js)
	if err != nil {
		return err
	}
	err = streams.Provision(ctx, js, []string{message.DefaultDestination})
	if err != nil && !errors.Is(err, jetstream.ErrHoldsMore) {
		return err
	}
	for _, r := range resizes {
		from := "no limit"
		if r.From > 0 {
			from = settings.Size(r.From).String()
		}
		log.Info("changed the size of a stream", zap.String("stream", r.Stream), zap.String("from", from), zap.Stringer("to", settings.Size(r.To)))
	}
	if err != nil {
		return backoff.Permanent(err) // waiting changes nothing
	}
	return nil
}

func provisionPostgres(ctx context.Context, cfg Config, log *zap.Logger) error {
	pool, err := dbpool.Open(ctx, cfg.Postgres.URL(), dbpool.Options{Name: "dispatch-provision"})
	if err != nil {
		return err
	}
	defer dbpool.Close(pool)
	err = service.WaitFor(ctx, log, "postgres", func(ctx context.Context) error {
		err := pool.Ping(ctx)
		if dbpool.Final(err) {
			return backoff.Permanent(err)
		}
		return err
	})
	if err != nil {
		return err
	}
	return service.WaitFor(ctx, log, "schema", func(context.Context) error {
		err := provisionSchema(ctx, cfg, pool) // it may take longer than the limit of one try
		if err != nil && !dbpool.Interrupted(err) {
			return backoff.Permanent(err)
		}
		return err
	})
}

func provisionSchema(ctx context.Context, cfg Config, pool *pgxpool.Pool) error {
	if err := migrate.Up(ctx, pool); err != nil {
		return err
	}
	failpoint.At(failpoint.ProvisionMigrated)
	size := 0 // unset
	if cfg.BatchSize != nil {
		size = *cfg.BatchSize
	}
	return db.NewStore(pool).ProvisionSchedule(ctx, cfg.ProcessingInterval, size)
}
