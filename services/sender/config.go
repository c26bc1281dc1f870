package sender

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/sender/destination"
	"github.com/message-dispatcher/dispatch/services/sender/transport/webhook"
)

const (
	maxConcurrency = 2048
	// drainReserve is what a shutdown needs beyond the longest request: to read
	// its response, to publish the status event and to return deliveries.
	drainReserve = 10 * time.Second
)

// Config is the configuration of a sender.
type Config struct {
	Postgres  settings.Postgres
	NATS      settings.NATS
	Log       settings.Log
	Lifecycle service.Lifecycle

	Destination  destination.Settings
	Certificates webhook.Certificates

	MaxRetries   int           `env:"MAX_RETRIES" envDefault:"3" help:"retries after the first attempt, before a message is FAILED"`
	RetryBase    time.Duration `env:"RETRY_BASE" envDefault:"5s" help:"wait after the first failure; the real wait is random, between half and all of it"`
	RetryFactor  float64       `env:"RETRY_FACTOR" envDefault:"10" help:"factor by which each further failure multiplies the wait"`
	RetryMax     time.Duration `env:"RETRY_MAX" envDefault:"1h" help:"longest wait, also for a Retry-After"`
	Concurrency  int           `env:"SENDER_CONCURRENCY" envDefault:"64" help:"maximum number of requests in flight per sender"`
	EventContent string        `env:"EVENT_CONTENT" envDefault:"none" help:"full: events include content, payload and metadata; none: they do not"`
}

// Validate reports every mistake in the sender's own settings.
func (c Config) Validate() error {
	errs := []error{c.Postgres.ValidateWith(dbpool.CheckURL), c.Destination.Validate()}
	if c.Lifecycle.ShutdownTimeout < c.Destination.Timeout+drainReserve {
		errs = append(errs, settings.Invalid("SHUTDOWN_TIMEOUT", c.Lifecycle.ShutdownTimeout,
			fmt.Sprintf("must exceed WEBHOOK_TIMEOUT by %s, so that requests in flight can finish: at least %s", drainReserve, c.Destination.Timeout+drainReserve)))
	}
	errs = append(errs, c.validateRetries(), c.validateCertificates())
	if c.Concurrency < 1 || c.Concurrency > maxConcurrency {
		errs = append(errs, settings.Invalid("SENDER_CONCURRENCY", c.Concurrency, fmt.Sprintf("must be from 1 to %d", maxConcurrency)))
	}
	errs = append(errs, settings.ValidEventContent(c.EventContent))
	return errors.Join(errs...)
}

// validateRetries reports every mistake in when and how often is tried again.
func (c Config) validateRetries() error {
	var errs []error
	if c.MaxRetries < 0 {
		errs = append(errs, settings.Invalid("MAX_RETRIES", c.MaxRetries, "must be 0 or more"))
	}
	if c.RetryBase <= 0 {
		errs = append(errs, settings.Invalid("RETRY_BASE", c.RetryBase, "must be more than 0"))
	}
	if c.RetryFactor < 1 || math.IsInf(c.RetryFactor, 0) || math.IsNaN(c.RetryFactor) {
		errs = append(errs, settings.Invalid("RETRY_FACTOR", c.RetryFactor, "must be 1 or more"))
	}
	if c.RetryMax < c.RetryBase {
		errs = append(errs, settings.Invalid("RETRY_MAX", c.RetryMax, fmt.Sprintf("must not be less than RETRY_BASE, which is %s", c.RetryBase)))
	}
	return errors.Join(errs...)
}

// validateCertificates reports every mistake in the files of TLS.
func (c Config) validateCertificates() error {
	err := c.Certificates.Validate()
	if u, _ := url.Parse(c.Destination.URL); u != nil && u.Scheme == "http" && c.Certificates != (webhook.Certificates{}) {
		err = errors.Join(settings.Invalid("WEBHOOK_URL", settings.Hidden, "must begin with https:// for WEBHOOK_CERT, WEBHOOK_KEY or WEBHOOK_CA to be of use"), err)
	}
	return err
}

func (c Config) backoff() message.Backoff {
	return message.Backoff{Base: c.RetryBase, Factor: c.RetryFactor, Max: c.RetryMax, MaxRetries: c.MaxRetries}
}
