package cli

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func newRetry() *cobra.Command {
	var expiresAt string
	cmd, api := moveCommand("retry", "Send messages again that are FAILED, CANCELLED or EXPIRED", func() any {
		if expiresAt == "" {
			return nil
		}
		return map[string]string{"expiresAt": moment(expiresAt)}
	})
	cmd.Flags().StringVar(&expiresAt, "expires-at", "", "not after: RFC 3339, or a duration from now (default: never)")
	cmd.Example = `  dispatch retry 01932a5c-6a00-7f3e-9b1d-0242ac120002
  dispatch retry --status failed --created-after 24h --dry-run
  dispatch retry --all`
	byFilter(cmd, api)
	return cmd
}

func newCancel() *cobra.Command {
	cmd, _ := moveCommand("cancel", "Call messages back that are PENDING, or RETRYING with time left", func() any { return nil })
	cmd.Example = `  dispatch cancel 01932a5c-6a00-7f3e-9b1d-0242ac120002`
	return cmd
}

// moved is what became of one id.
type moved struct {
	ID      message.ID       `json:"id"`
	Message *message.Message `json:"message,omitempty"`
	Error   *client.Problem  `json:"error,omitempty"`
}

// moveCommand moves the messages whose ids are given, one after the other. A
// refusal does not keep the others from being moved; an API that is away does.
func moveCommand(verb, short string, body func() any) (cmd *cobra.Command, api func() *client.Client) {
	var asJSON bool
	cmd = &cobra.Command{
		Use: verb + " ID…", Short: short, GroupID: "messages",
		Long: short + ".\nWhat is refused is told for each; then the exit code is 1.",
		Args: cobra.MinimumNArgs(1),
	}
	api = apiFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		results := make([]moved, len(args))
		for i, arg := range args {
			id, err := parseID(arg)
			if err != nil {
				return err
			}
			results[i].ID = id
		}
		var failed error
		done := 0
		for i := range results {
			refusal, err := move(cmd, api(), verb, body(), &results[i])
			if err != nil {
				failed = err
				break
			}
			done++
			if refusal != nil {
				failed = exit.Silent(exit.CodeFailed)
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", results[i].ID, refusal)
			}
		}
		results = results[:done]
		if done == 0 {
			return failed
		}
		return errors.Join(failed, output.Show(cmd.OutOrStdout(), asJSON, results, func(t *output.Table) { fillMoved(t, results) }))
	}
	return cmd, api
}

func move(cmd *cobra.Command, api *client.Client, verb string, body any, result *moved) (refusal *client.Problem, err error) {
	var m message.Message
	err = api.Call(cmd.Context(), client.Request{
		Method: http.MethodPost, Path: "/api/v1/messages/" + result.ID.String() + "/" + verb, Body: body,
	}, &m)
	var coded *exit.Error
	switch {
	case err == nil:
		result.Message = &m
		return nil, nil
	case errors.As(err, &coded) || !errors.As(err, &refusal):
		return nil, err
	}
	result.Error = refusal
	return refusal, nil
}

func fillMoved(t *output.Table, results []moved) {
	for _, r := range results {
		if r.Message != nil {
			t.Row(r.ID, r.Message.Status, r.Message.To)
		}
	}
}
