// Package cli is the command dispatch: all of Message Dispatcher in one process
// (up), each service by itself, and the commands to talk to them.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/legacyimport"
	"github.com/message-dispatcher/dispatch/pkg/redact"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Execute runs one command line and returns the exit code.
func Execute(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot(interruptible(ctx, in), out, errOut)
	root.SetArgs(args)
	err := run(ctx, root, args)
	if err == nil {
		return 0
	}
	if cmd, _, found := root.Find(args); found == nil {
		asArguments(cmd, err)
	}
	var coded *exit.Error
	var mistakes *settings.ValidationErrors
	switch {
	case errors.As(err, &mistakes):
		fmt.Fprintln(errOut, "dispatch: configuration")
		for _, m := range mistakes.All {
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

// newRoot makes the command with its streams: the command for completions
// takes them when it is made.
func newRoot(in io.Reader, out, errOut io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "dispatch",
		Short: "Get messages out: stored in Postgres, paced, delivered to webhooks, none lost",
		Long: `Message Dispatcher takes messages over HTTP or straight from NATS, stores them in
Postgres, emits them at an exact pace, delivers them to a webhook with retries
through JetStream, and tells everyone what happened.

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
		&cobra.Group{ID: "care", Title: "Care:"},
	)
	root.AddCommand(
		draining(newUp()), draining(newIngest()), draining(newDispatcher()), draining(newSender()), draining(newBench()),
		newProvision(), newHealth(), newSink(),
		newSend(), newGet(), newList(), newRetry(), newCancel(), newTail(),
		newStatus(), newStart(), newStop(), newConfigure(),
		newDoctor(), newMigrate(), legacyimport.Command(), newErase(),
	)
	root.Args = cobra.ArbitraryArgs
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknown(cmd, args[0])
	}
	root.SetHelpCommand(newHelp(root))
	addCompletion(root)
	check(root)
	return root
}

// newHelp is cobra's own, except that it knows what there is not.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Help about any command",
		Args:    cobra.ArbitraryArgs,
		Example: "  dispatch help send",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, _, err := root.Find(args)
			if err != nil || (cmd == root && len(args) > 0) {
				return unknown(root, args[0])
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// unknown is the mistake of a command that there is not.
func unknown(root *cobra.Command, name string) error {
	text := fmt.Sprintf("there is no command %q.", name)
	if near := root.SuggestionsFor(name); len(near) > 0 {
		text += " Did you mean " + strings.Join(near, " or ") + "?"
	}
	return exit.Usage(errors.New(text + "\nSee \"dispatch --help\""))
}

// Check has wrong arguments of every command below count as mistakes of usage.
func check(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		cmd.Args = checked(cmd.Args)
		check(cmd)
	}
}

// checked turns a wrong number of arguments into a mistake of usage.
func checked(args cobra.PositionalArgs) cobra.PositionalArgs {
	if args == nil {
		args = cobra.NoArgs
	}
	return func(cmd *cobra.Command, given []string) error {
		if err := args(cmd, given); err != nil {
			return exit.Usage(fmt.Errorf("%w\nUsage: %s\nSee \"%s --help\"", err, cmd.UseLine(), cmd.CommandPath()))
		}
		return nil
	}
}
