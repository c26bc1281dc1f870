package cli

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/input"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
)

// erasure counts what was erased by all requests together.
type erasure struct {
	DryRun      bool      `json:"dryRun"`
	Erased      int64     `json:"erased"`
	Cancelled   int64     `json:"cancelled"`
	Attempts    int64     `json:"attempts"`
	Cached      int64     `json:"cached"`
	Unpublished int64     `json:"unpublished"`
	Intake      int64     `json:"intake"`
	Rejected    int64     `json:"rejected"`
	EventsUntil time.Time `json:"eventsUntil"`
	More        bool      `json:"more,omitempty"`
}

func (e *erasure) add(next erasure) {
	next.Erased += e.Erased
	next.Cancelled += e.Cancelled
	next.Attempts += e.Attempts
	next.Cached += e.Cached
	next.Unpublished += e.Unpublished
	next.Intake += e.Intake
	next.Rejected += e.Rejected
	*e = next
}

func newErase() *cobra.Command {
	var asJSON, dryRun, yes bool
	var numbers input.PhoneNumbers
	cmd := &cobra.Command{
		Use: "erase RECIPIENT", Short: "Erase every message to a recipient, beyond recovery", GroupID: "maintenance",
		Long: `Erases every message to a recipient, beyond recovery, with its attempts, from the
database, Redis and the streams. Messages that are not sent yet are cancelled.
Events that were published before still name the recipient until they expire from
their stream. The result says when that is.`,
		Example: `  dispatch erase "+90 555 111 11 11" --dry-run
  dispatch erase "+90 555 111 11 11" --yes`,
		Args: cobra.ExactArgs(1),
	}
	api := apiFlags(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "count, and erase nothing")
	numbers.Add(cmd.Flags())
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := numbers.Check(); err != nil {
			return err
		}
		recipient, err := numbers.Read(args[0])
		if err != nil {
			return exit.Usage(fmt.Errorf("%q %w", args[0], err))
		}
		erase := func(dryRun bool) (done erasure, err error) {
			query := url.Values{"to": {recipient}, "dryRun": {fmt.Sprint(dryRun)}}
			err = api().Call(cmd.Context(), client.Request{Method: http.MethodDelete, Path: "/api/v1/messages?" + query.Encode()}, &done)
			return done, advised(err, recipient)
		}
		var total erasure
		if dryRun || !yes {
			if total, err = erase(true); err != nil {
				return err
			}
		}
		if !dryRun {
			if !yes && !confirmed(cmd, total, recipient) {
				return errors.New("nothing was erased: answer yes, or use --yes")
			}
			for total = (erasure{More: true}); total.More; {
				next, err := erase(false)
				if err != nil {
					return err
				}
				total.add(next)
			}
		}
		return output.Show(cmd.OutOrStdout(), asJSON, total, func(t *output.Table) { fillErasure(t, total) })
	}
	return cmd
}

// confirmed asks the user. It asks on standard error, so that standard output has
// nothing but the result.
func confirmed(cmd *cobra.Command, found erasure, recipient string) bool {
	fmt.Fprintf(cmd.ErrOrStderr(), "Erase %d messages to %s, %d of them not yet sent? This can't be undone. (yes/no) ", found.Erased, recipient, found.Cancelled)
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil { // no answer means no
		fmt.Fprintln(cmd.ErrOrStderr())
	}
	return strings.TrimSpace(answer) == "yes"
}

func fillErasure(t *output.Table, e erasure) {
	t.Row("messages", e.Erased)
	t.Row("  not yet final", e.Cancelled)
	t.Row("attempts", e.Attempts)
	t.Row("in Redis", e.Cached)
	t.Row("unpublished events", e.Unpublished)
	t.Row("intake", e.Intake)
	t.Row("rejected intake", e.Rejected)
	t.Row("events are gone by", e.EventsUntil.Local().Format(time.DateTime))
	if e.DryRun {
		t.Row("nothing was erased")
	}
}
