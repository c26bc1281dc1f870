package cli

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func newStatus() *cobra.Command {
	cmd := paceCommand("status", "Show the pace, the number of messages in each state, and the running services", http.MethodGet)
	cmd.Example = `  dispatch status
  dispatch status --json | jq .counts`
	return cmd
}

func newStart() *cobra.Command {
	cmd := paceCommand("start", "Start emitting messages", http.MethodPost)
	cmd.Example = `  dispatch start`
	return cmd
}

func newStop() *cobra.Command {
	cmd := paceCommand("stop", "Stop emitting messages; those that were emitted are still delivered", http.MethodPost)
	cmd.Long = `Stops emitting messages. Once the command returns, no further message is emitted
until "dispatch start", even after a restart of everything. Messages that were
emitted before are still delivered.`
	cmd.Example = `  dispatch stop`
	return cmd
}

func paceCommand(verb, short, method string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: verb, Short: short, GroupID: "pace"}
	api := apiFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return showPace(cmd, api(), asJSON, client.Request{Method: method, Path: "/api/v1/messaging/" + verb})
	}
	return cmd
}

func newConfigure() *cobra.Command {
	var interval time.Duration
	var batchSize int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "configure", Short: "Change the pace; it survives restarts", GroupID: "pace",
		Long: `Changes the pace. A flag that is not given changes nothing. The next tick comes at
its old time, or at the last tick plus the new interval, whichever is earlier. An
interval of 0 emits messages as soon as they are due.`,
		Example: `  dispatch configure --interval 30s --batch-size 10
  dispatch configure --interval 0 --batch-size 500`,
	}
	api := apiFlags(cmd)
	f := cmd.Flags()
	f.DurationVar(&interval, "interval", 0, fmt.Sprintf("time between two ticks: 0, or 1ms to %s", message.MaxInterval))
	f.IntVar(&batchSize, "batch-size", 0, fmt.Sprintf("messages per tick: 1 to %d", message.MaxBatchSize))
	f.BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		change := map[string]any{}
		if f.Changed("interval") {
			if interval < 0 || interval > message.MaxInterval || (interval > 0 && interval < time.Millisecond) {
				return exit.Usage(fmt.Errorf("--interval must be 0 or from 1ms to %s", message.MaxInterval))
			}
			change["interval"] = interval.String()
		}
		if f.Changed("batch-size") {
			if batchSize < 1 || batchSize > message.MaxBatchSize {
				return exit.Usage(fmt.Errorf("--batch-size must be from 1 to %d", message.MaxBatchSize))
			}
			change["batchSize"] = batchSize
		}
		if len(change) == 0 {
			return exit.Usage(errors.New("--interval or --batch-size must be given, or both"))
		}
		return showPace(cmd, api(), asJSON, client.Request{Method: http.MethodPatch, Path: "/api/v1/messaging", Body: change})
	}
	return cmd
}

// showPace sends a request and shows the overview in the response.
func showPace(cmd *cobra.Command, api *client.Client, asJSON bool, r client.Request) error {
	var overview message.Overview
	if err := api.Call(cmd.Context(), r, &overview); err != nil {
		return err
	}
	return output.Show(cmd.OutOrStdout(), asJSON, overview, func(t *output.Table) { fillOverview(t, overview) })
}

func fillOverview(t *output.Table, o message.Overview) {
	state := output.Styled(o.State, output.StyleGood)
	if o.State == message.StateStopped {
		state.Style = output.StyleWaiting
	}
	if o.Changed != nil && !*o.Changed {
		state.Text += " (no change)"
	}
	t.Row("state", state)
	t.Row("pace", pace(o))
	if o.LastTickAt != nil {
		t.Row("last tick", fmt.Sprintf("%s, %d emitted", output.Time(o.LastTickAt), o.LastBatch))
	} else {
		t.Row("last tick", "none yet")
	}
	if o.OldestPendingAt != nil {
		t.Row("oldest pending", output.Time(o.OldestPendingAt))
	}
	for _, status := range message.Statuses() {
		t.Row(status, o.Counts[status])
	}
	for _, instance := range o.Instances {
		t.Row(instance.Service, fmt.Sprintf("%s since %s", instance.ID, output.Time(&instance.Since)))
	}
}

// pace says how fast messages are emitted, and when the next tick is.
func pace(o message.Overview) string {
	interval := time.Duration(o.Interval)
	if o.State == message.StateStopped {
		return `stopped; "dispatch start" resumes`
	}
	if interval == 0 {
		return fmt.Sprintf("as fast as possible, in batches of up to %d", o.BatchSize)
	}
	noun := "messages"
	if o.BatchSize == 1 {
		noun = "message"
	}
	next := "now"
	if o.NextTickAt != nil {
		if wait := time.Until(*o.NextTickAt).Round(time.Second); wait > 0 {
			next = fmt.Sprintf("at %s, in %s", o.NextTickAt.Local().Format(time.TimeOnly), wait)
		}
	}
	return fmt.Sprintf("%d %s every %s; next tick %s", o.BatchSize, noun, interval, next)
}
