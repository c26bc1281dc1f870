// Package command is what all commands have in common: checks of their arguments,
// help, completions, and the end at a signal.
package command

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/input"
)

// pathFlags take file names, which may have any bytes.
var pathFlags = []string{"--data", "--file", "--html", "--profile", "--rejects"}

// checkArguments refuses text that is not UTF-8. It comes from a terminal or a
// script in another encoding, and JSON would replace its letters.
func checkArguments(args []string) error {
	isPath := false
	for i, arg := range args {
		skip := isPath
		isPath = false
		for _, name := range pathFlags {
			isPath = isPath || arg == name
			skip = skip || strings.HasPrefix(arg, name+"=")
		}
		if at := input.InvalidUTF8(arg); at >= 0 && !skip {
			return exit.Usage(fmt.Errorf("argument %d is not UTF-8: byte %d is 0x%02X; set the terminal or the script to UTF-8", i+1, at+1, arg[at]))
		}
	}
	return nil
}

// CheckCounts makes a wrong number of arguments of any command a usage error.
func CheckCounts(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		cmd.Args = checked(cmd.Args)
		CheckCounts(cmd)
	}
}

// checked makes a wrong number of arguments a usage error.
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

// NameArguments replaces the API's fields in an error by the arguments of the
// command: the user has typed arguments, not fields.
func NameArguments(cmd *cobra.Command, err error) {
	var refusal *client.Problem
	if !errors.As(err, &refusal) {
		return
	}
	for i, e := range refusal.Errors {
		refusal.Errors[i].Field = argumentOf(cmd, e.Field)
	}
	if reason, found := strings.CutPrefix(refusal.Detail, "the body "); found {
		refusal.Detail = "what was given " + reason
	}
}

// flagNames are the flags that are named differently from their fields.
var flagNames = map[string]string{"metadata": "meta", "idempotencyKey": "key", "Idempotency-Key": "key"}

// argumentOf returns the argument that sets a field, or the field if there is none.
func argumentOf(cmd *cobra.Command, field string) string {
	name, within, nested := strings.Cut(field, ".")
	argument := strings.ToUpper(name)
	if name == "to" && cmd.Name() == "erase" {
		argument = "RECIPIENT"
	}
	for _, word := range strings.Fields(cmd.Use)[1:] {
		if strings.Trim(word, "[]…") == argument {
			return argument
		}
	}
	flag, known := flagNames[name]
	if !known {
		flag = withDashes(name)
	}
	switch {
	case cmd.Flags().Lookup(flag) == nil:
		return field
	case nested:
		return "--" + flag + " " + within
	}
	return "--" + flag
}

// withDashes converts a field's name to that of a flag: expiresAt to expires-at.
func withDashes(name string) string {
	var b strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
