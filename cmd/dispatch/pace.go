package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func newStatus() *cobra.Command {
	return paceCommand("status", "Show the pace, how many messages are in each state, and who is running", "GET")
}

func newStart() *cobra.Command {
	return paceCommand("start", "Start emitting messages", "POST")
}

func newStop() *cobra.Command {
	cmd := paceCommand("stop", "Stop emitting messages; what is emitted is finished", "POST")
	cmd.Long = `Stops emitting messages. Once the command is done no further message is emitted
until "dispatch start", also after a restart of everything. What was emitted
before is still delivered.`
	return cmd
}

func paceCommand(verb, short, method string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: verb, Short: short, GroupID: "pace"}
	client := clientFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var overview message.Overview
		if err := client().call(cmd.Context(), method, "/api/v1/messaging/"+verb, nil, &overview); err != nil {
			return err
		}
		return show(cmd.OutOrStdout(), asJSON, overview, func(w io.Writer) { printOverview(w, overview) })
	}
	return cmd
}

func printOverview(w io.Writer, o message.Overview) {
	state := o.State
	if o.Changed != nil && !*o.Changed {
		state += " (it was already)"
	}
	fmt.Fprintf(w, "state\t%s\n", state)
	fmt.Fprintf(w, "pace\t%s\n", pace(o))
	fmt.Fprintf(w, "last tick\t%s, %d emitted\n", stamp(o.LastTickAt), o.LastBatch)
	if o.OldestPendingAt != nil {
		fmt.Fprintf(w, "oldest pending\t%s\n", stamp(o.OldestPendingAt))
	}
	for _, status := range message.Statuses() {
		fmt.Fprintf(w, "%s\t%d\n", status, o.Counts[status])
	}
	for _, instance := range o.Instances {
		fmt.Fprintf(w, "%s\t%s since %s\n", instance.Service, instance.ID, stamp(&instance.Since))
	}
}
