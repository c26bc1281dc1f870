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

// maxClockDifference is what the clocks of two machines may differ: above it
// "not before" and "not after" are visibly off.
const maxClockDifference = time.Second

// Result is what a check found.
type Result string

const (
	OK          Result = "ok"
	Wrong       Result = "wrong"
	Unreachable Result = "unreachable"
	Skipped     Result = "skipped" // not used here, or not to be seen from here
)

// Finding is one line of the examination.
type Finding struct {
	Check  string `json:"check"`
	Result Result `json:"result"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// Installation is what an examination looks at.
type Installation struct {
	Environment settings.Environment // what the services would read
	Unread      error                // why .env could not be read; nil if it could, or if there is none
	DataDir     string               // where the embedded servers keep their data
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

// doctor examines an installation.
type doctor struct {
	env    settings.Environment
	dir    string    // of the embedded servers
	cfg    up.Config // what is not given has its default
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

// Worst returns the worst result: away before wrong before good.
func Worst(findings []Finding) Result {
	worst := OK
	for _, f := range findings {
		switch {
		case f.Result == Unreachable:
			return Unreachable
		case f.Result == Wrong:
			worst = Wrong
		}
	}
	return worst
}

// configuration reads everything that any service reads. It goes on with what
// could be read.
func (d *doctor) configuration() {
	cfg, err := up.Parse(d.env, "")
	d.cfg = cfg
	var mistakes *settings.ValidationErrors
	switch {
	case errors.As(err, &mistakes):
		for _, m := range mistakes.All {
			d.wrong("configuration", m.Error(), "correct it in the environment or in .env; .env.example tells of every setting")
		}
	case err != nil:
		d.wrong("configuration", err.Error(), "correct it in the environment or in .env")
	default:
		d.good("configuration", "no mistake in the environment and .env")
	}
	for _, warning := range settings.Warnings(d.env, &cfg) {
		d.skip("configuration", warning, "")
	}
}

// clock compares a server's clock with this machine's. The request that told
// the time was sent and answered at the given times.
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

const UnfinishedRemedy = "find out what kept the last step from its end, put it right, then set dirty to false in schema_migrations, and version to the last one that is complete"
