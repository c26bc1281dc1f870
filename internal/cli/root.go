// Package cli is the command dispatch: it runs all of Message Dispatcher in one
// process (up), or one service, and has the commands that talk to them. There is
// one file for each command or family of commands; the subpackages are their
// common parts.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/command"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/legacyimport"
	"github.com/message-dispatcher/dispatch/pkg/redact"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Execute runs one command line and returns the exit code.
func Execute(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot(command.Interruptible(ctx, in), out, errOut)
	root.SetArgs(args)
	err := command.Run(ctx, root, args)
	if err == nil {
		return 0
	}
	if cmd, _, found := root.Find(args); found == nil {
		command.NameArguments(cmd, err)
	}
	var coded *exit.Error
	var invalid *settings.ValidationErrors
	switch {
	case errors.As(err, &invalid):
		fmt.Fprintln(errOut, "dispatch: configuration")
		for _, m := range invalid.All {
			fmt.Fprintf(errOut, "  %s\n", m.Error())
		}
		return exit.CodeUsage
	case errors.As(err, &coded):
		if coded.Err != nil {
			fmt.Fprintf(errOut, "dispatch: %s\n", redact.Text(coded.Err.Error()))
		}
		return coded.Code
	}
	fmt.Fprintf(errOut, "dispatch: %s\n", redact.Text(err.Error()))
	return exit.CodeFailed
}

// newRoot returns the command with its streams. They must be set here, because
// the completion command reads them when it is added.
func newRoot(in io.Reader, out, errOut io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "dispatch",
		Short: "Deliver messages to webhooks: stored in Postgres, paced, none lost",
		Long: `Message Dispatcher takes messages over HTTP or straight from NATS, stores them in
Postgres, emits them at an exact pace, delivers them to a webhook with retries
through JetStream, and publishes an event for everything that happens.

Start with "dispatch up": everything in one process, nothing to set up.
Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not reachable.`,
		Version:       service.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,

		SuggestionsMinimumDistance: 2,
	}
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit.Usage(fmt.Errorf("%w\nSee \"%s --help\"", err, cmd.CommandPath()))
	})
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run:"},
		&cobra.Group{ID: "messages", Title: "Messages:"},
		&cobra.Group{ID: "pace", Title: "Pace:"},
		&cobra.Group{ID: "maintenance", Title: "Maintenance:"},
	)
	root.AddCommand(
		command.Draining(newUp()), command.Draining(newIngest()), command.Draining(newDispatcher()), command.Draining(newSender()), command.Draining(newBench()),
		newProvision(), newHealth(), newReceiver(),
		newSend(), newGet(), newList(), newRetry(), newCancel(), newTail(),
		newStatus(), newStart(), newStop(), newConfigure(),
		newDoctor(), newMigrate(), legacyimport.Command(), newErase(),
	)
	root.Args = cobra.ArbitraryArgs
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return command.Unknown(cmd, args[0])
	}
	root.SetHelpCommand(command.NewHelp(root))
	command.AddCompletion(root)
	command.CheckCounts(root)
	return root
}
