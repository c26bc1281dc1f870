package sender

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// Bounds of what can be configured.
const (
	maxConcurrency = 2048
	// drainReserve is what a shutdown needs beyond the longest request: to
	// read its answer, to publish the status event and to give ids back.
	drainReserve = 10 * time.Second
)

// Config is the configuration of a sender.
type Config struct {
	Postgres  service.Postgres
	NATS      service.NATS
	Log       service.Log
	Lifecycle service.Lifecycle

	WebhookURL     string        `env:"WEBHOOK_URL,required,notEmpty" secret:"true" help:"where messages are delivered: an http or https URL"`
	WebhookTimeout time.Duration `env:"WEBHOOK_TIMEOUT" envDefault:"30s" help:"timeout of one request to the webhook, until the response's header; at most 1m"`
	WebhookSecret  string        `env:"WEBHOOK_SECRET" secret:"true" help:"secret that signs requests (Standard Webhooks): whsec_ and base64, or plain text without blanks and commas; two with whsec_, separated by a space or comma, during a rotation"`
	WebhookHeaders string        `env:"WEBHOOK_HEADERS" secret:"true" lines:"true" help:"headers of every request, one 'Name: value' per line (\\n is a line break), e.g. Authorization: Bearer x"`
	WebhookCert    string        `env:"WEBHOOK_CERT" help:"PEM file with the client certificate for an https webhook and its chain; this file and the next two are read again when they change"`
	WebhookKey     string        `env:"WEBHOOK_KEY" help:"PEM file with the key of WEBHOOK_CERT, not encrypted"`
	WebhookCA      string        `env:"WEBHOOK_CA" help:"PEM file with the CAs for the webhook's certificate, in place of the system's"`
	RetryOn        string        `env:"RETRY_ON" help:"statuses that are retried although they would fail the message, separated by commas: statuses and classes, e.g. 404,423"`
	FailOn         string        `env:"FAIL_ON" help:"statuses that fail the message at once although they would be retried, e.g. 501,505"`
	ExternalID     string        `env:"EXTERNAL_ID" envDefault:"/messageId" help:"place of the receiver's own id of the message in a response: a JSON Pointer (RFC 6901) into the body, or header:NAME"`
	MaxRetries     int           `env:"MAX_RETRIES" envDefault:"3" help:"retries after the first attempt, before a message is FAILED"`
	RetryBase      time.Duration `env:"RETRY_BASE" envDefault:"5s" help:"wait after the first failure; the real wait is random, between half and all of it"`
	RetryFactor    float64       `env:"RETRY_FACTOR" envDefault:"10" help:"factor by which each further failure multiplies the wait"`
	RetryMax       time.Duration `env:"RETRY_MAX" envDefault:"1h" help:"longest wait, also for a Retry-After"`
	Concurrency    int           `env:"SENDER_CONCURRENCY" envDefault:"64" help:"maximum number of requests in flight per sender"`
	EventContent   string        `env:"EVENT_CONTENT" envDefault:"none" help:"full: events include content, payload and metadata; none: they do not"`
}

// Validate reports every mistake of the sender's own settings.
func (c Config) Validate() error {
	var errs []error
	if u, err := url.Parse(c.WebhookURL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		errs = append(errs, service.Invalid("WEBHOOK_URL", service.Hidden, "must be a URL like https://host/path"))
	} else if strings.Contains(c.WebhookURL, "#") {
		errs = append(errs, service.Invalid("WEBHOOK_URL", service.Hidden, "must not have a #: what follows it is never sent (in a password it is %23)"))
	} else if headers, err := parseHeaders(c.WebhookHeaders); err == nil && u.User != nil && headers.Get("Authorization") != "" {
		errs = append(errs, service.Invalid("WEBHOOK_URL", service.Hidden, "must not have a user when WEBHOOK_HEADERS has an Authorization: only one can be sent"))
	}
	errs = append(errs, c.Postgres.ValidateWith(db.CheckURL), service.ValidWebhookTimeout(c.WebhookTimeout))
	if c.Lifecycle.ShutdownTimeout < c.WebhookTimeout+drainReserve {
		errs = append(errs, service.Invalid("SHUTDOWN_TIMEOUT", c.Lifecycle.ShutdownTimeout,
			fmt.Sprintf("must exceed WEBHOOK_TIMEOUT by %s, so that requests in flight can finish: at least %s", drainReserve, c.WebhookTimeout+drainReserve)))
	}
	if _, err := signingKeys(c.WebhookSecret); err != nil {
		errs = append(errs, service.Invalid("WEBHOOK_SECRET", service.Hidden, err.Error()))
	}
	if _, err := parseHeaders(c.WebhookHeaders); err != nil {
		errs = append(errs, service.Invalid("WEBHOOK_HEADERS", service.Hidden, err.Error()))
	}
	errs = append(errs, c.validateRetries(), c.validateCertificates())
	if _, _, err := c.responses(); err != nil {
		errs = append(errs, err)
	}
	if c.Concurrency < 1 || c.Concurrency > maxConcurrency {
		errs = append(errs, service.Invalid("SENDER_CONCURRENCY", c.Concurrency, fmt.Sprintf("must be from 1 to %d", maxConcurrency)))
	}
	errs = append(errs, service.ValidEventContent(c.EventContent))
	return errors.Join(errs...)
}

// validateRetries reports every mistake in when and how often is tried again.
func (c Config) validateRetries() error {
	var errs []error
	if c.MaxRetries < 0 {
		errs = append(errs, service.Invalid("MAX_RETRIES", c.MaxRetries, "must be 0 or more"))
	}
	if c.RetryBase <= 0 {
		errs = append(errs, service.Invalid("RETRY_BASE", c.RetryBase, "must be more than 0"))
	}
	if c.RetryFactor < 1 || math.IsInf(c.RetryFactor, 0) || math.IsNaN(c.RetryFactor) {
		errs = append(errs, service.Invalid("RETRY_FACTOR", c.RetryFactor, "must be 1 or more"))
	}
	if c.RetryMax < c.RetryBase {
		errs = append(errs, service.Invalid("RETRY_MAX", c.RetryMax, fmt.Sprintf("must not be less than RETRY_BASE, which is %s", c.RetryBase)))
	}
	return errors.Join(errs...)
}

// responses returns how responses are read, or every mistake in that.
func (c Config) responses() (rules message.Classifier, externalID message.ExternalID, err error) {
	var errs []error
	for _, set := range []struct {
		variable, text string
		into           *message.StatusCodes
	}{{"RETRY_ON", c.RetryOn, &rules.RetryOn}, {"FAIL_ON", c.FailOn, &rules.FailOn}} {
		if set.text == "" {
			continue
		}
		if *set.into, err = message.ParseStatusCodes(strings.Split(set.text, ",")); err != nil {
			errs = append(errs, service.Invalid(set.variable, set.text, strings.ReplaceAll(err.Error(), "\n", "; ")))
		}
	}
	if both := rules.FailOn.Overlap(rules.RetryOn); len(both) > 0 {
		errs = append(errs, service.Invalid("FAIL_ON", c.FailOn, "must have nothing in common with RETRY_ON, and has "+strings.Join(both, ", ")))
	}
	if externalID, err = message.ParseExternalID(cmp.Or(c.ExternalID, message.DefaultExternalID)); err != nil {
		errs = append(errs, service.Invalid("EXTERNAL_ID", c.ExternalID, err.Error()))
	}
	return rules, externalID, errors.Join(errs...)
}

// validateCertificates reports every mistake in the files of TLS.
func (c Config) validateCertificates() error {
	if c.WebhookCert == "" && c.WebhookKey == "" && c.WebhookCA == "" {
		return nil
	}
	var errs []error
	if u, err := url.Parse(c.WebhookURL); err == nil && u.Scheme == "http" {
		errs = append(errs, service.Invalid("WEBHOOK_URL", service.Hidden, "must begin with https:// for WEBHOOK_CERT, WEBHOOK_KEY or WEBHOOK_CA to be of use"))
	}
	if (c.WebhookCert == "") != (c.WebhookKey == "") {
		errs = append(errs, service.Invalid("WEBHOOK_CERT", c.WebhookCert, "must be set together with WEBHOOK_KEY"))
	}
	read, err := readCertificates(c)
	if err == nil {
		_, err = read.config(c)
	}
	return errors.Join(append(errs, err)...)
}

func (c Config) backoff() message.Backoff {
	return message.Backoff{Base: c.RetryBase, Factor: c.RetryFactor, Max: c.RetryMax, MaxRetries: c.MaxRetries}
}

// ownHeaders are set by the sender or would change how a request is framed
// or repeated: net/http sends a POST with one of the two idempotency keys
// again by itself.
var ownHeaders = []string{
	"Idempotency-Key", "X-Idempotency-Key", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature",
	"X-Dispatch-Attempt", "Traceparent", "Tracestate", "Host", "Content-Length", "Transfer-Encoding", "Connection", "Trailer",
	"Upgrade", "Te", "Keep-Alive", "Proxy-Connection", "Expect",
}

// What RFC 9110 lets a header's name and value hold, without the obsolete
// bytes beyond ASCII.
var (
	headerName  = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	headerValue = regexp.MustCompile(`^[\t\x20-\x7e]*$`)
)

// parseHeaders reads one 'Name: value' a line. The text \n ends a line too,
// because an env file of Docker can't hold a real one.
func parseHeaders(text string) (http.Header, error) {
	header := http.Header{}
	text = strings.ReplaceAll(text, `\n`, "\n")
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, found := strings.Cut(line, ":")
		name, value = http.CanonicalHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value)
		if !found || !headerName.MatchString(name) || !headerValue.MatchString(value) {
			return nil, fmt.Errorf("must be one 'Name: value' a line; line %d is not", number)
		}
		if slices.Contains(ownHeaders, name) {
			return nil, fmt.Errorf("must not set %s: the sender sets it itself, or HTTP does", name)
		}
		header.Add(name, value)
	}
	return header, nil
}
