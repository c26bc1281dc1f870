package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// show prints a value as JSON or, for people, by print.
func show(out io.Writer, asJSON bool, value any, print func(io.Writer)) error {
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(value)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	print(table)
	return table.Flush()
}

func printMessage(w io.Writer, m message.Message) {
	row := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	row("id", m.ID)
	row("status", m.Status)
	row("to", m.To)
	if m.Content != "" {
		row("content", m.Content)
	} else {
		row("payload", string(m.Payload))
	}
	row("priority", m.Priority)
	row("attempts", m.Attempts)
	row("created", stamp(&m.CreatedAt))
	for _, moment := range []struct {
		name string
		at   *time.Time
	}{{"queued", m.QueuedAt}, {"next attempt", m.NextAttemptAt}, {"sent", m.SentAt}, {"expires", m.ExpiresAt}} {
		if moment.at != nil {
			row(moment.name, stamp(moment.at))
		}
	}
	if m.ExternalID != "" {
		row("external id", m.ExternalID)
	}
	if m.LastError != "" {
		row("last error", m.LastError)
	}
}

func printMessages(w io.Writer, messages []message.Message) {
	fmt.Fprintln(w, "ID\tSTATUS\tTO\tATTEMPTS\tCREATED\tLAST ERROR")
	for _, m := range messages {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", m.ID, m.Status, m.To, m.Attempts, stamp(&m.CreatedAt), m.LastError)
	}
}

func printAttempts(w io.Writer, attempts []message.Attempt) {
	fmt.Fprintln(w, "NUMBER\tSTARTED\tTOOK\tOUTCOME\tSTATUS\tERROR")
	for _, a := range attempts {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%s\n", a.Number, stamp(&a.StartedAt), a.Duration.Round(time.Millisecond), a.Outcome, a.HTTPStatus, a.Error)
	}
}

func stamp(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}
