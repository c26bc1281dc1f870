package destination

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Settings describe a destination.
type Settings struct {
	URL        string        `env:"WEBHOOK_URL,required,notEmpty" secret:"true" help:"where messages are delivered: an http or https URL"`
	Timeout    time.Duration `env:"WEBHOOK_TIMEOUT" envDefault:"30s" help:"timeout of one request to the webhook, until the response's header; at most 1m"`
	Secret     string        `env:"WEBHOOK_SECRET" secret:"true" help:"secret that signs requests (Standard Webhooks): whsec_ and base64, or plain text without blanks and commas; two with whsec_, separated by a space or comma, during a rotation"`
	Headers    string        `env:"WEBHOOK_HEADERS" secret:"true" lines:"true" help:"headers of every request, one 'Name: value' per line (\\n is a line break), e.g. Authorization: Bearer x"`
	RetryOn    string        `env:"RETRY_ON" help:"statuses that are retried although they would fail the message, separated by commas: statuses and classes, e.g. 404,423"`
	FailOn     string        `env:"FAIL_ON" help:"statuses that fail the message at once although they would be retried, e.g. 501,505"`
	ExternalID string        `env:"EXTERNAL_ID" envDefault:"/messageId" help:"place of the receiver's own id of the message in a response: a JSON Pointer (RFC 6901) into the body, or header:NAME"`
}

// Validate reports every mistake, by the name of the setting.
func (s Settings) Validate() error {
	var errs []error
	if u, err := url.Parse(s.URL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		errs = append(errs, settings.Invalid("WEBHOOK_URL", settings.Hidden, "must be a URL like https://host/path"))
	} else if strings.Contains(s.URL, "#") {
		errs = append(errs, settings.Invalid("WEBHOOK_URL", settings.Hidden, "must not have a #: what follows it is never sent (in a password it is %23)"))
	} else if headers, err := parseHeaders(s.Headers); err == nil && u.User != nil && headers.Get("Authorization") != "" {
		errs = append(errs, settings.Invalid("WEBHOOK_URL", settings.Hidden, "must not have a user when WEBHOOK_HEADERS has an Authorization: only one can be sent"))
	}
	errs = append(errs, settings.ValidWebhookTimeout(s.Timeout))
	if _, err := signingKeys(s.Secret); err != nil {
		errs = append(errs, settings.Invalid("WEBHOOK_SECRET", settings.Hidden, err.Error()))
	}
	if _, err := parseHeaders(s.Headers); err != nil {
		errs = append(errs, settings.Invalid("WEBHOOK_HEADERS", settings.Hidden, err.Error()))
	}
	_, _, err := s.responses()
	return errors.Join(append(errs, err)...)
}

// responses returns how responses are read, or every mistake in that.
func (s Settings) responses() (rules message.Classifier, externalID message.ExternalID, err error) {
	var errs []error
	for _, set := range []struct {
		setting, text string
		into          *message.StatusCodes
	}{{"RETRY_ON", s.RetryOn, &rules.RetryOn}, {"FAIL_ON", s.FailOn, &rules.FailOn}} {
		if set.text == "" {
			continue
		}
		if *set.into, err = message.ParseStatusCodes(strings.Split(set.text, ",")); err != nil {
			errs = append(errs, settings.Invalid(set.setting, set.text, strings.ReplaceAll(err.Error(), "\n", "; ")))
		}
	}
	if both := rules.FailOn.Overlap(rules.RetryOn); len(both) > 0 {
		errs = append(errs, settings.Invalid("FAIL_ON", s.FailOn, "must have nothing in common with RETRY_ON, and has "+strings.Join(both, ", ")))
	}
	if externalID, err = message.ParseExternalID(cmp.Or(s.ExternalID, message.DefaultExternalID)); err != nil {
		errs = append(errs, settings.Invalid("EXTERNAL_ID", s.ExternalID, err.Error()))
	}
	return rules, externalID, errors.Join(errs...)
}

// reservedHeaders are set by the sender, or change how a request is framed or
// repeated.
var reservedHeaders = []string{
	"Idempotency-Key", "X-Idempotency-Key", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature",
	"X-Dispatch-Attempt", "Traceparent", "Tracestate", "Host", "Content-Length", "Transfer-Encoding", "Connection", "Trailer",
	"Upgrade", "Te", "Keep-Alive", "Proxy-Connection", "Expect",
}

// What RFC 9110 allows in a header's name and value, without the obsolete bytes
// beyond ASCII.
var (
	headerName  = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	headerValue = regexp.MustCompile(`^[\t\x20-\x7e]*$`)
)

// parseHeaders reads one 'Name: value' per line. The text \n ends a line too,
// because an env file of Docker can't contain a line break.
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
		if slices.Contains(reservedHeaders, name) {
			return nil, fmt.Errorf("must not set %s: the sender sets it itself, or HTTP does", name)
		}
		header.Add(name, value)
	}
	return header, nil
}
