package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
)

// completeWith has the shell offer the words that a flag takes.
func completeWith(cmd *cobra.Command, flag string, words ...string) {
	offer := cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, offer); err != nil {
		panic(err) // there is no such flag
	}
}

// addCompletion adds cobra's own command that writes completions for shells.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	at := slices.IndexFunc(root.Commands(), func(cmd *cobra.Command) bool { return cmd.Name() == "completion" })
	completion := root.Commands()[at]
	completion.Example = `  source <(dispatch completion bash)
  dispatch completion zsh > "${fpath[1]}/_dispatch"
  dispatch completion fish > ~/.config/fish/completions/dispatch.fish`
	needsOneOf(completion)
}

// needsOneOf makes a command that only groups others refuse to be called
// without one of them.
func needsOneOf(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var names []string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		mistake := "which one?"
		if len(args) > 0 {
			mistake = "there is no " + args[0] + "."
		}
		return exit.Usage(errors.New(cmd.CommandPath() + ": " + mistake + " There are " + strings.Join(names, ", ")))
	}
}
