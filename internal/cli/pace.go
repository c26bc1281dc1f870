package cli

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func newStatus() *cobra.Command {
	cmd := paceCommand("status", "Show the pace, how many messages are in each state, and who is running", http.MethodGet)
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
	cmd := paceCommand("stop", "Stop emitting messages; what is emitted is finished", http.MethodPost)
	cmd.Long = `Stops emitting messages. Once the command is done no further message is emitted
until "dispatch start", also after a restart of everything. What was emitted
before is still delivered.`
	cmd.Example = `  dispatch stop`
	return cmd
}

func paceCommand(verb, short, method string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: verb, Short: short, GroupID: "pace"}
	client := clientFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return showPace(cmd, client(), asJSON, request{method: method, path: "/api/v1/messaging/" + verb})
	}
	return cmd
}

func newConfigure() *cobra.Command {
	var interval time.Duration
	var batchSize int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "configure", Short: "Change the pace; it is kept over restarts", GroupID: "pace",
		Long: `Changes the pace. What is not given stays as it is. The next tick comes at the
earlier of its old time and the last tick plus the new interval. An interval of
0 emits messages as soon as they are due.`,
		Example: `  dispatch configure --interval 30s --batch-size 10
  dispatch configure --interval 0 --batch-size 500`,
	}
	client := clientFlags(cmd)
	f := cmd.Flags()
	f.DurationVar(&interval, "interval", 0, fmt.Sprintf("time between two ticks: 0, or from 1ms to %s", message.MaxInterval))
	f.IntVar(&batchSize, "batch-size", 0, fmt.Sprintf("messages of a tick: from 1 to %d", message.MaxBatchSize))
	f.BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		change := map[string]any{}
		if f.Changed("interval") {
			if interval < 0 || interval > message.MaxInterval || (interval > 0 && interval < time.Millisecond) {
				return usage(fmt.Errorf("--interval must be 0 or from 1ms to %s", message.MaxInterval))
			}
			change["interval"] = interval.String()
		}
		if f.Changed("batch-size") {
			if batchSize < 1 || batchSize > message.MaxBatchSize {
				return usage(fmt.Errorf("--batch-size must be from 1 to %d", message.MaxBatchSize))
			}
			change["batchSize"] = batchSize
		}
		if len(change) == 0 {
			return usage(errors.New("--interval or --batch-size must be given, or both"))
		}
		return showPace(cmd, client(), asJSON, request{method: http.MethodPatch, path: "/api/v1/messaging", body: change})
	}
	return cmd
}

// showPace asks for something that is answered with where everything stands.
func showPace(cmd *cobra.Command, api *client, asJSON bool, r request) error {
	var overview message.Overview
	if err := api.call(cmd.Context(), r, &overview); err != nil {
		return err
	}
	return show(cmd.OutOrStdout(), asJSON, overview, func(t *table) { fillOverview(t, overview) })
}

func fillOverview(t *table, o message.Overview) {
	state := cell{o.State, styleGood}
	if o.State == message.StateStopped {
		state.style = styleWait
	}
	if o.Changed != nil && !*o.Changed {
		state.text += " (it was already)"
	}
	t.row("state", state)
	t.row("pace", pace(o))
	if o.LastTickAt != nil {
		t.row("last tick", fmt.Sprintf("%s, %d emitted", stamp(o.LastTickAt), o.LastBatch))
	} else {
		t.row("last tick", "none yet")
	}
	if o.OldestPendingAt != nil {
		t.row("oldest pending", stamp(o.OldestPendingAt))
	}
	for _, status := range message.Statuses() {
		t.row(status, o.Counts[status])
	}
	for _, instance := range o.Instances {
		t.row(instance.Service, fmt.Sprintf("%s since %s", instance.ID, stamp(&instance.Since)))
	}
}

// pace says how fast messages are emitted and when the next ones are.
func pace(o message.Overview) string {
	interval := time.Duration(o.Interval)
	if o.State == message.StateStopped {
		return `stopped; "dispatch start" goes on`
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

// names are the texts of words.
func names[T ~string](words []T) []string {
	texts := make([]string, len(words))
	for i, word := range words {
		texts[i] = string(word)
	}
	return texts
}
