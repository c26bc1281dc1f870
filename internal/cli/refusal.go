package cli

import (
	"errors"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
)

// asArguments words a refusal of the API in the arguments of the command that
// was given: nobody who typed one has written a field, or a body.
func asArguments(cmd *cobra.Command, err error) {
	var refusal *client.Problem
	if !errors.As(err, &refusal) {
		return
	}
	for i, mistake := range refusal.Errors {
		refusal.Errors[i].Field = argumentOf(cmd, mistake.Field)
	}
	if reason, found := strings.CutPrefix(refusal.Detail, "the body "); found {
		refusal.Detail = "what was given " + reason
	}
}

// flagNames are the flags that are not called as their fields are.
var flagNames = map[string]string{"metadata": "meta", "idempotencyKey": "key", "Idempotency-Key": "key"}

// argumentOf returns the argument that a field comes from, or the field if it
// comes from none.
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

// withDashes is a field's name as flags are written: expires-at for expiresAt.
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
