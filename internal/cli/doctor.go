package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
	"github.com/message-dispatcher/dispatch/internal/doctor"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

func newDoctor() *cobra.Command {
	var asJSON bool
	var url, dir string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check everything that an installation needs, and say how to fix it", GroupID: "maintenance",
		Long: `Checks the configuration, Postgres, NATS, Redis, the webhook and the API from this
machine. Run it with the environment of the services. It changes nothing, and
only connects to the webhook. The exit code is 1 if anything is wrong, and 3 if
anything can't be reached.`,
		Example: `  dispatch doctor
  DATABASE_URL=postgres://… NATS_URL=nats://… WEBHOOK_URL=https://… dispatch doctor --json`,
	}
	cmd.Flags().StringVar(&url, "url", "", "where the API is (default: DISPATCH_URL, else HTTP_ADDR on this machine)")
	cmd.Flags().StringVar(&dir, "data", defaultDir(), `where "dispatch up" keeps its data`)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		environment, err := settings.ReadEnvironment(os.Environ(), ".env")
		var unread *settings.UnreadableError
		if err != nil && !errors.As(err, &unread) {
			return err
		}
		if url = cmp.Or(url, environment[settings.EnvAPIURL]); url == "" {
			url = "http://" + client.OnLoopback(environment["HTTP_ADDR"])
		}
		installation := doctor.Installation{Environment: environment, DataDir: dir, API: client.New(url, environment[settings.EnvAPIKey])}
		if unread != nil {
			installation.Unread = unread
		}
		findings, out := []doctor.Finding{}, cmd.OutOrStdout()
		doctor.Examine(cmd.Context(), installation, func(f doctor.Finding) {
			findings = append(findings, f)
			if !asJSON {
				printFinding(out, f)
			}
		})
		if asJSON {
			if err := output.JSON(out, findings, "  "); err != nil {
				return err
			}
		}
		return verdict(findings)
	}
	return cmd
}

var findingMarks = map[doctor.Result]output.Cell{
	doctor.OK: output.Styled("✓", output.StyleGood), doctor.Wrong: output.Styled("✗", output.StyleBad),
	doctor.Unreachable: output.Styled("✗", output.StyleBad), doctor.Skipped: output.Styled("–", output.StyleQuiet),
}

func printFinding(out io.Writer, f doctor.Finding) {
	fmt.Fprintf(out, "%s %-14s %s\n", findingMarks[f.Result].Paint(output.Coloured(out)), f.Check, output.Printable(f.Detail))
	if f.Remedy != "" {
		fmt.Fprintf(out, "  %-14s → %s\n", "", f.Remedy)
	}
}

// verdict returns the exit code for all findings.
func verdict(findings []doctor.Finding) error {
	switch doctor.Worst(findings) {
	case doctor.Unreachable:
		return exit.Silent(exit.CodeUnreachable)
	case doctor.Wrong:
		return exit.Silent(exit.CodeFailed)
	case doctor.OK, doctor.Skipped:
	}
	return nil
}
