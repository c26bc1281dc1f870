// Package doctor checks everything that an installation needs. A check returns
// findings; each problem says how to fix it.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/up"
	"github.com/message-dispatcher/dispatch/pkg/redact"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// maxClockDifference is the limit for the clocks of two machines. Beyond it,
// deliverAt and expiresAt are visibly off.
const maxClockDifference = time.Second

// Result classifies a finding.
type Result string

// The results.
const (
	OK          Result = "ok"
	Wrong       Result = "wrong"
	Unreachable Result = "unreachable"
	Skipped     Result = "skipped" // not used, or not visible from here
)

// Finding is one result of a check.
type Finding struct {
	Check  string `json:"check"`
	Result Result `json:"result"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// Installation is what Examine checks.
type Installation struct {
	Environment settings.Environment // the environment of the services
	Unread      error                // why .env could not be read; nil if it was read or does not exist
	DataDir     string               // data directory of the embedded servers
	API         *client.Client
}

// Examine runs every check, one after the other, and passes each finding to
// report as soon as it is known. It changes nothing. It connects to the webhook
// and sends nothing to it.
func Examine(ctx context.Context, in Installation, report func(Finding)) {
	d := &doctor{env: in.Environment, dir: in.DataDir, api: in.API, report: report}
	if in.Unread != nil {
		d.wrong("configuration", in.Unread.Error(), "let this user read it, or remove it; the services go on without it if the environment has what they need")
	}
	d.configuration()
	d.postgres(ctx)
	d.nats(ctx)
	d.redis(ctx)
	d.webhook(ctx)
	d.listeners(ctx)
	d.service(ctx)
}

// doctor is one examination.
type doctor struct {
	env    settings.Environment
	dir    string    // of the embedded servers
	cfg    up.Config // with the defaults
	api    *client.Client
	report func(Finding)
}

func (d *doctor) found(check string, r Result, detail, remedy string) {
	d.report(Finding{check, r, redact.Text(detail), remedy})
}

func (d *doctor) good(check, detail string)          { d.found(check, OK, detail, "") }
func (d *doctor) wrong(check, detail, remedy string) { d.found(check, Wrong, detail, remedy) }
func (d *doctor) skip(check, detail, remedy string)  { d.found(check, Skipped, detail, remedy) }

// away reports an error. A server that was reached and refuses is wrong, not unreachable.
func (d *doctor) away(check string, err error, remedy string) {
	r := Unreachable
	var coded *exit.Error
	if errors.Is(err, connect.ErrRefused) || errors.As(err, &coded) && coded.Code != exit.CodeUnreachable {
		r = Wrong
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	d.found(check, r, text, remedy)
}

// Worst returns the worst result: unreachable, then wrong, then OK.
func Worst(findings []Finding) Result {
	worst := OK
	for _, f := range findings {
		switch f.Result {
		case Unreachable:
			return Unreachable
		case Wrong:
			worst = Wrong
		case OK, Skipped:
		}
	}
	return worst
}

// configuration validates all settings of all services. The other checks use what
// is valid.
func (d *doctor) configuration() {
	cfg, err := up.Parse(d.env, "")
	d.cfg = cfg
	var invalid *settings.ValidationErrors
	switch {
	case errors.As(err, &invalid):
		for _, m := range invalid.All {
			d.wrong("configuration", m.Error(), "correct it in the environment or in .env; .env.example documents every setting")
		}
	case err != nil:
		d.wrong("configuration", err.Error(), "correct it in the environment or in .env")
	default:
		d.good("configuration", "the environment and .env are valid")
	}
	for _, warning := range settings.Warnings(d.env, &cfg) {
		d.skip("configuration", warning, "")
	}
}

// clock compares the clock of a server with this machine's. theirs is the server's
// time, in a response to a request of the given times.
func (d *doctor) clock(check string, theirs, sent, answered time.Time) {
	middle := sent.Add(answered.Sub(sent) / 2)
	difference := theirs.Sub(middle)
	precision := time.Millisecond
	if difference.Abs() > time.Second {
		precision *= 100
	}
	detail := fmt.Sprintf("its clock and this one differ by %s", difference.Abs().Round(precision))
	if difference.Abs()-answered.Sub(sent)/2 > maxClockDifference {
		d.wrong(check, detail, "set both machines' clocks by NTP")
		return
	}
	d.good(check, detail)
}

// UnfinishedRemedy says what to do about a migration that did not finish.
const UnfinishedRemedy = "find out why the last step did not finish, fix it, then set dirty to false in schema_migrations, and version to the last one that is complete"
