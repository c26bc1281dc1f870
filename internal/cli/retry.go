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
	cmd, api := perMessage("retry", "Send messages again that are FAILED, CANCELLED or EXPIRED", func() any {
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
	cmd, _ := perMessage("cancel", "Cancel messages that are PENDING, or RETRYING with time left", func() any { return nil })
	cmd.Example = `  dispatch cancel 01932a5c-6a00-7f3e-9b1d-0242ac120002`
	return cmd
}

// result is what the API did with one message.
type result struct {
	ID      message.ID       `json:"id"`
	Message *message.Message `json:"message,omitempty"`
	Error   *client.Problem  `json:"error,omitempty"`
}

// perMessage returns a command that sends a request for each id, one after the
// other. If the API refuses one, the command goes on with the next. If it can't
// be reached, the command stops.
func perMessage(verb, short string, body func() any) (cmd *cobra.Command, api func() *client.Client) {
	var asJSON bool
	cmd = &cobra.Command{
		Use: verb + " ID…", Short: short, GroupID: "messages",
		Long: short + ".\nEach refusal is reported on standard error; the exit code is 1 then.",
		Args: cobra.MinimumNArgs(1),
	}
	api = apiFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		results := make([]result, len(args))
		for i, arg := range args {
			id, err := parseID(arg)
			if err != nil {
				return err
			}
			results[i].ID = id
		}
		done, err := changeAll(cmd, api(), verb, body(), results)
		if done == 0 {
			return err
		}
		results = results[:done]
		return errors.Join(err, output.Show(cmd.OutOrStdout(), asJSON, results, func(t *output.Table) { fillResults(t, results) }))
	}
	return cmd, api
}

// changeAll fills in the results in order, and returns how many are done.
func changeAll(cmd *cobra.Command, api *client.Client, verb string, body any, results []result) (done int, failed error) {
	for i := range results {
		refusal, err := change(cmd, api, verb, body, &results[i])
		if err != nil {
			return i, err
		}
		if refusal != nil {
			failed = exit.Silent(exit.CodeFailed)
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", results[i].ID, refusal)
		}
	}
	return len(results), failed
}

func change(cmd *cobra.Command, api *client.Client, verb string, body any, result *result) (refusal *client.Problem, err error) {
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

func fillResults(t *output.Table, results []result) {
	for _, r := range results {
		if r.Message != nil {
			t.Row(r.ID, r.Message.Status, r.Message.To)
		}
	}
}
