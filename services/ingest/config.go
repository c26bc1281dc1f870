package ingest

import (
	"errors"
	"fmt"
	"net"

	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/ingest/httpapi/apikey"
)

const (
	maxContentLength  = 100_000
	maxNATSMessage    = 1 << 20   // NATS' default max_payload
	maxPayloadInEvent = 512 << 10 // so that an event with a payload fits maxNATSMessage
)

// Config is the configuration of ingest.
type Config struct {
	Postgres  settings.Postgres
	NATS      settings.NATS
	Redis     settings.Redis // holds what an erasure must reach
	Log       settings.Log
	Lifecycle service.Lifecycle

	HTTPAddr         string                `env:"HTTP_ADDR" envDefault:"127.0.0.1:8080" help:"host:port of the HTTP API; beyond loopback it needs API_KEYS"`
	APIKeys          string                `env:"API_KEYS" secret:"true" help:"keys of the HTTP API, separated by commas: name:key, name:sha256:hash with the SHA-256 of the key in hex, or a key alone; /metrics then needs a key too (Prometheus: authorization), /health does not"`
	MaxContentLength int                   `env:"MAX_CONTENT_LENGTH" envDefault:"160" help:"longest content of a message, in characters"`
	MaxPayloadBytes  int                   `env:"MAX_PAYLOAD_BYTES" envDefault:"262144" help:"largest payload of a message, in bytes"`
	WebhookRecipient message.RecipientKind `env:"WEBHOOK_RECIPIENT" envDefault:"phone" help:"kind of recipients: phone (numbers, converted to E.164) or any (text up to 256 bytes)"`
	EventContent     string                `env:"EVENT_CONTENT" envDefault:"none" help:"full: events include content, payload and metadata; none: they do not"`
}

// Validate reports every error in ingest's own settings.
func (c Config) Validate() error {
	errs := []error{c.Postgres.ValidateWith(dbpool.CheckURL), c.Redis.ValidateWith(cache.CheckURL), c.validateAddrs(), c.validateKeys()}
	if c.MaxContentLength < 1 || c.MaxContentLength > maxContentLength {
		errs = append(errs, settings.Invalid("MAX_CONTENT_LENGTH", c.MaxContentLength, fmt.Sprintf("must be from 1 to %d", maxContentLength)))
	}
	errs = append(errs, settings.ValidPayloadBytes(c.MaxPayloadBytes), settings.ValidEventContent(c.EventContent))
	if c.WebhookRecipient != message.RecipientPhone && c.WebhookRecipient != message.RecipientAny {
		errs = append(errs, settings.Invalid("WEBHOOK_RECIPIENT", c.WebhookRecipient, "must be phone or any"))
	}
	if c.EventContent == settings.EventContentFull && c.MaxPayloadBytes > maxPayloadInEvent {
		errs = append(errs, settings.Invalid("EVENT_CONTENT", c.EventContent,
			fmt.Sprintf("must be none when MAX_PAYLOAD_BYTES is more than %d: the events would not fit NATS' max_payload", maxPayloadInEvent)))
	}
	return errors.Join(errs...)
}

// validateAddrs reports every error in the addresses.
func (c Config) validateAddrs() error {
	health := c.Lifecycle.HealthAddr
	if err := settings.ValidAddr("HTTP_ADDR", c.HTTPAddr); err != nil {
		return err
	}
	var errs []error
	if c.APIKeys == "" && !isLoopback(c.HTTPAddr) {
		errs = append(errs, settings.Invalid("HTTP_ADDR", c.HTTPAddr,
			"must be a loopback address such as 127.0.0.1:8080 as long as API_KEYS is not set"))
	}
	if settings.Clash(health, c.HTTPAddr) {
		errs = append(errs, settings.Invalid("HEALTH_ADDR", health, "must not be where HTTP_ADDR listens, which answers /health and /metrics too: leave it unset, or take another port"))
	}
	return errors.Join(errs...)
}

// validateKeys reports every error in the API keys. The errors do not contain a key.
func (c Config) validateKeys() error {
	_, keyErrs := apikey.Parse(c.APIKeys)
	var errs []error
	for _, err := range keyErrs {
		errs = append(errs, settings.Invalid("API_KEYS", settings.Hidden, err.Error()))
	}
	return errors.Join(errs...)
}

// Warnings returns sentences about valid settings that may be meant otherwise.
func (c Config) Warnings() []string {
	keys, _ := apikey.Parse(c.APIKeys)
	warnings := keys.Warnings()
	if c.MaxPayloadBytes > maxNATSMessage {
		warnings = append(warnings, fmt.Sprintf("MAX_PAYLOAD_BYTES=%d is more than a NATS server takes by default (max_payload, %d): larger messages come in over HTTP alone", c.MaxPayloadBytes, maxNATSMessage))
	}
	return warnings
}

// rules returns the limits of a message.
func (c Config) rules() message.Rules {
	return message.Rules{
		MaxContentLength: c.MaxContentLength,
		MaxPayloadBytes:  c.MaxPayloadBytes,
		Destinations:     map[string]message.RecipientKind{message.DefaultDestination: c.WebhookRecipient},
	}
}

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
