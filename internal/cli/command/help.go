package command

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
)

// Complete makes the shell offer the words that a flag takes.
func Complete(cmd *cobra.Command, flag string, words ...string) {
	offer := cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, offer); err != nil {
		panic(err) // there is no such flag
	}
}

// AddCompletion adds cobra's command that prints completions for shells.
func AddCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	at := slices.IndexFunc(root.Commands(), func(cmd *cobra.Command) bool { return cmd.Name() == "completion" })
	completion := root.Commands()[at]
	completion.Example = `  source <(dispatch completion bash)
  dispatch completion zsh > "${fpath[1]}/_dispatch"
  dispatch completion fish > ~/.config/fish/completions/dispatch.fish`
	NeedsSubcommand(completion)
}

// NeedsSubcommand makes it an error to call a group of commands without one of
// them.
func NeedsSubcommand(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var names []string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		problem := "which one?"
		if len(args) > 0 {
			problem = "there is no " + args[0] + "."
		}
		return exit.Usage(errors.New(cmd.CommandPath() + ": " + problem + " There are " + strings.Join(names, ", ")))
	}
}

// NewHelp is cobra's help command, except that an unknown command is an error.
func NewHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Help about any command",
		Args:    cobra.ArbitraryArgs,
		Example: "  dispatch help send",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, _, err := root.Find(args)
			if err != nil || (cmd == root && len(args) > 0) {
				return Unknown(root, args[0])
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// Unknown is the error for a command that does not exist.
func Unknown(root *cobra.Command, name string) error {
	text := fmt.Sprintf("there is no command %q.", name)
	if near := root.SuggestionsFor(name); len(near) > 0 {
		text += " Did you mean " + strings.Join(near, " or ") + "?"
	}
	return exit.Usage(errors.New(text + "\nSee \"dispatch --help\""))
}
