package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/command"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// retryFilter selects the messages of a retry without ids.
type retryFilter struct {
	all, dryRun   bool
	statuses      []string
	destination   string
	after, before string
}

func (f *retryFilter) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&f.all, "all", false, "instead of ids: all messages that are FAILED, or that match the filters")
	flags.StringSliceVar(&f.statuses, "status", nil, "instead of ids: those that are FAILED, CANCELLED or EXPIRED; repeatable")
	flags.StringVar(&f.destination, "destination", "", "instead of ids: only this destination")
	flags.StringVar(&f.after, "created-after", "", "instead of ids: not older, RFC 3339 or a duration ago such as 24h")
	flags.StringVar(&f.before, "created-before", "", "instead of ids: only older, RFC 3339 or a duration ago")
	flags.BoolVar(&f.dryRun, "dry-run", false, "with a filter: count, and retry nothing")
	command.Complete(cmd, "status", names(message.Redrive.From)...)
}

// given returns the first flag of the filter that is set; empty if there is none.
func (f *retryFilter) given(cmd *cobra.Command) string {
	for _, name := range []string{"all", "status", "destination", "created-after", "created-before", "dry-run"} {
		if cmd.Flags().Changed(name) {
			return "--" + name
		}
	}
	return ""
}

// request returns the body of POST /api/v1/messages/retry.
func (f *retryFilter) request() (map[string]any, error) {
	body := map[string]any{"dryRun": f.dryRun}
	for _, name := range f.statuses {
		status, ok := message.ParseStatus(name)
		if !ok || !message.Redrive.Allows(status) {
			return nil, exit.Usage(fmt.Errorf("--status %q: there are %s", name, strings.Join(names(message.Redrive.From), ", ")))
		}
	}
	if len(f.statuses) > 0 {
		body["status"] = f.statuses
	}
	for name, value := range map[string]string{"destination": f.destination, "createdAfter": past(f.after), "createdBefore": past(f.before)} {
		if value != "" {
			body[name] = value
		}
	}
	return body, nil
}

// retried counts what a retry by a filter did in all of its requests.
type retried struct {
	Matched int64 `json:"matched"` // by the first request
	Retried int64 `json:"retried"`
	DryRun  bool  `json:"dryRun"`
	More    bool  `json:"more,omitempty"`
}

// retryAll retries all messages that match a filter.
func retryAll(ctx context.Context, api *client.Client, f *retryFilter) (retried, error) {
	body, err := f.request()
	if err != nil {
		return retried{}, err
	}
	total := retried{DryRun: f.dryRun}
	for first := true; ; first = false {
		var next retried
		if err := api.Call(ctx, client.Request{Method: http.MethodPost, Path: "/api/v1/messages/retry", Body: body}, &next); err != nil {
			if total.Retried > 0 {
				err = fmt.Errorf("%w\n  %d messages were retried before that; repeat the command to go on", err, total.Retried)
			}
			return total, err
		}
		if first {
			total.Matched = next.Matched
		}
		total.Retried += next.Retried
		if !next.More {
			return total, nil
		}
	}
}

// byFilter lets a command that takes ids take a filter instead.
func byFilter(cmd *cobra.Command, api func() *client.Client) {
	filter := &retryFilter{}
	filter.flags(cmd)
	byID := cmd.RunE
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		flag := filter.given(cmd)
		switch {
		case len(args) > 0 && flag != "":
			return exit.Usage(fmt.Errorf("%s goes without ids", flag))
		case len(args) > 0:
			return byID(cmd, args)
		case flag == "":
			return exit.Usage(errors.New("ID is missing, or --all, or a filter such as --status failed\nSee \"dispatch retry --help\""))
		case cmd.Flags().Changed("expires-at"):
			return exit.Usage(errors.New("--expires-at goes with ids alone: messages of a filter are retried without an expiry"))
		}
		done, err := retryAll(cmd.Context(), api(), filter)
		if err != nil {
			return err
		}
		asJSON, _ := cmd.Flags().GetBool("json") // perMessage has added it
		return output.Show(cmd.OutOrStdout(), asJSON, done, func(t *output.Table) {
			t.Row("matched", done.Matched)
			t.Row("retried", done.Retried)
			if done.DryRun {
				t.Row("nothing was retried")
			}
		})
	}
}
