package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/up"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// maxClockDifference is what the clocks of two machines may differ: above it
// "not before" and "not after" are visibly off.
const maxClockDifference = time.Second

func newDoctor() *cobra.Command {
	var asJSON bool
	var url, dir string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check everything that an installation needs, and say what to do", GroupID: "care",
		Long: `Looks at the configuration, Postgres, NATS, Redis, the webhook and the API, as
seen from here, with the environment of the services. It changes nothing, and
sends nothing to the webhook: it only connects. Exit code 1 if anything is
wrong, 3 if anything can't be reached.`,
		Example: `  dispatch doctor
  DATABASE_URL=postgres://… NATS_URL=nats://… WEBHOOK_URL=https://… dispatch doctor --json`,
	}
	cmd.Flags().StringVar(&url, "url", "", "where the API is (default: DISPATCH_URL, else HTTP_ADDR on this machine)")
	cmd.Flags().StringVar(&dir, "data", defaultDir(), `where "dispatch up" keeps its data`)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		environment, err := service.ReadEnvironment(os.Environ(), ".env")
		var unread *service.UnreadError
		if err != nil && !errors.As(err, &unread) {
			return err
		}
		if url = cmp.Or(url, environment[service.EnvAPIURL]); url == "" {
			url = "http://" + onLoopback(environment["HTTP_ADDR"])
		}
		d := &doctor{env: environment, dir: dir, api: newClient(url, environment[service.EnvAPIKey])}
		if !asJSON {
			d.out = cmd.OutOrStdout()
		}
		if unread != nil {
			d.wrong("configuration", unread.Error(), "let this user read it, or remove it; the services go on without it if the environment has what they need")
		}
		d.examine(cmd.Context())
		if asJSON {
			if err := printJSON(cmd.OutOrStdout(), d.findings, "  "); err != nil {
				return err
			}
		}
		return d.verdict()
	}
	return cmd
}

// result is what a check found.
type result string

const (
	good    result = "ok"
	wrong   result = "wrong"
	away    result = "unreachable"
	skipped result = "skipped" // not used here, or not to be seen from here
)

// finding is one line of the examination.
type finding struct {
	Check  string `json:"check"`
	Result result `json:"result"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// doctor examines an installation.
type doctor struct {
	env      service.Environment
	dir      string    // of the embedded servers
	cfg      up.Config // what is not given has its default
	api      *client
	out      io.Writer // where findings go at once; nil for nowhere
	findings []finding
}

// examine runs every check, one after the other.
func (d *doctor) examine(ctx context.Context) {
	d.configuration()
	d.postgres(ctx)
	d.nats(ctx)
	d.redis(ctx)
	d.webhook(ctx)
	d.listeners(ctx)
	d.service(ctx)
}

func (d *doctor) found(check string, r result, detail, remedy string) {
	f := finding{check, r, service.Redact(detail), remedy}
	d.findings = append(d.findings, f)
	if d.out == nil {
		return
	}
	mark := map[result]cell{
		good: {"✓", styleGood}, wrong: {"✗", styleBad}, away: {"✗", styleBad}, skipped: {"–", styleQuiet},
	}[r]
	fmt.Fprintf(d.out, "%s %-14s %s\n", mark.paint(coloured(d.out)), f.Check, printable(f.Detail))
	if f.Remedy != "" {
		fmt.Fprintf(d.out, "  %-14s → %s\n", "", f.Remedy)
	}
}

func (d *doctor) good(check, detail string)          { d.found(check, good, detail, "") }
func (d *doctor) wrong(check, detail, remedy string) { d.found(check, wrong, detail, remedy) }
func (d *doctor) skip(check, detail, remedy string)  { d.found(check, skipped, detail, remedy) }

// away tells of an error; what was reached and refused is wrong, not away.
func (d *doctor) away(check string, err error, remedy string) {
	r := away
	var exit *exitError
	if errors.Is(err, errRefused) || errors.As(err, &exit) && exit.code != exitUnreachable {
		r = wrong
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	d.found(check, r, text, remedy)
}

// verdict is the exit code of all findings.
func (d *doctor) verdict() error {
	code := 0
	for _, f := range d.findings {
		switch {
		case f.Result == away:
			code = exitUnreachable
		case f.Result == wrong && code == 0:
			code = exitFailed
		}
	}
	if code == 0 {
		return nil
	}
	return &exitError{code: code}
}

// configuration reads everything that any service reads. It goes on with what
// could be read.
func (d *doctor) configuration() {
	cfg, err := up.Parse(d.env, "")
	d.cfg = cfg
	var mistakes *service.ConfigError
	switch {
	case errors.As(err, &mistakes):
		for _, m := range mistakes.Mistakes {
			d.wrong("configuration", m.Error(), "correct it in the environment or in .env; .env.example tells of every setting")
		}
	case err != nil:
		d.wrong("configuration", err.Error(), "correct it in the environment or in .env")
	default:
		d.good("configuration", "no mistake in the environment and .env")
	}
	for _, warning := range service.Warnings(d.env, &cfg) {
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
