package cli

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/command"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/input"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// maxPage is the largest page of the API.
const maxPage = 100

func newGet() *cobra.Command {
	var asJSON, attempts bool
	cmd := &cobra.Command{
		Use: "get ID", Short: "Show a message, or its attempts", GroupID: "messages",
		Example: `  dispatch get 01932a5c-6a00-7f3e-9b1d-0242ac120002
  dispatch get 01932a5c-6a00-7f3e-9b1d-0242ac120002 --attempts`,
		Args: cobra.ExactArgs(1),
	}
	api := apiFlags(cmd)
	cmd.Flags().BoolVar(&attempts, "attempts", false, "show the attempts")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID(args[0])
		if err != nil {
			return err
		}
		path := "/api/v1/messages/" + id.String()
		out := cmd.OutOrStdout()
		if attempts {
			var answer struct {
				Data []message.Attempt `json:"data"`
			}
			if err := api().Get(cmd.Context(), path+"/attempts", &answer); err != nil {
				return err
			}
			return output.Show(out, asJSON, answer.Data, func(t *output.Table) { fillAttempts(t, answer.Data) })
		}
		var m message.Message
		if err := api().Get(cmd.Context(), path, &m); err != nil {
			return err
		}
		return output.Show(out, asJSON, m, func(t *output.Table) { fillMessage(t, m) })
	}
	return cmd
}

// listFlags select the messages of a list.
type listFlags struct {
	statuses                    []string
	destination, to, kind, next string
	externalID, key             string
	after, before               string
	limit                       int
	json                        bool
	numbers                     input.PhoneNumbers
}

// query returns the parameters of GET /api/v1/messages.
func (flags *listFlags) query() (url.Values, error) {
	if flags.limit < 1 || flags.limit > maxPage {
		return nil, exit.Usage(fmt.Errorf("--limit must be from 1 to %d", maxPage))
	}
	if err := flags.numbers.Check(); err != nil {
		return nil, err
	}
	to, err := flags.numbers.Read(flags.to)
	if err != nil {
		return nil, exit.Usage(fmt.Errorf("--to: %q %w", flags.to, err))
	}
	query := url.Values{"limit": {strconv.Itoa(flags.limit)}}
	for _, status := range flags.statuses {
		if _, ok := message.ParseStatus(status); !ok {
			return nil, exit.Usage(fmt.Errorf("--status %q: there are %s", status, strings.Join(names(message.Statuses()), ", ")))
		}
		query.Add("status", status)
	}
	for name, value := range map[string]string{
		"destination": flags.destination, "to": to, "type": flags.kind, "cursor": flags.next,
		"externalId": flags.externalID, "idempotencyKey": flags.key,
		"createdAfter": past(flags.after), "createdBefore": past(flags.before),
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query, nil
}

func newList() *cobra.Command {
	var flags listFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List messages, newest first", GroupID: "messages",
		Example: `  dispatch list --status failed --limit 50
  dispatch list --created-after 1h --to +905551111111
  dispatch list --json | jq -r '.data[].id'`,
	}
	api := apiFlags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&flags.statuses, "status", nil, "only these states; repeatable")
	f.StringVar(&flags.destination, "destination", "", "only this destination")
	f.StringVar(&flags.to, "to", "", "only this recipient")
	flags.numbers.Add(f)
	f.StringVar(&flags.kind, "type", "", "only this type")
	f.StringVar(&flags.externalID, "external-id", "", "only those with this messageId of the webhook's response")
	f.StringVar(&flags.key, "key", "", "only the one with this idempotency key")
	f.StringVar(&flags.after, "created-after", "", "not older: RFC 3339, or a duration ago such as 2h")
	f.StringVar(&flags.before, "created-before", "", "only older: RFC 3339, or a duration ago")
	f.IntVar(&flags.limit, "limit", 20, "how many, 1 to 100")
	f.StringVar(&flags.next, "cursor", "", "the next page, as the page before printed it")
	f.BoolVar(&flags.json, "json", false, "print JSON")
	command.Complete(cmd, "status", names(message.Statuses())...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		query, err := flags.query()
		if err != nil {
			return err
		}
		var page struct {
			Data       []message.Message `json:"data"`
			NextCursor *string           `json:"nextCursor"`
		}
		if err := api().Get(cmd.Context(), "/api/v1/messages?"+query.Encode(), &page); err != nil {
			return advised(err, query.Get("to"))
		}
		out := cmd.OutOrStdout()
		err = output.Show(out, flags.json, page, func(t *output.Table) { fillMessages(t, page.Data) })
		if len(page.Data) == 0 && input.WithoutPlus(query.Get("to")) {
			fmt.Fprintln(cmd.ErrOrStderr(), input.PlusAdvice)
		}
		if err == nil && !flags.json && page.NextCursor != nil {
			// On standard error: scripts that cut columns expect messages alone.
			fmt.Fprintf(cmd.ErrOrStderr(), "more: --cursor %s\n", *page.NextCursor)
		}
		return err
	}
	return cmd
}

func fillMessage(t *output.Table, m message.Message) {
	t.Row("id", m.ID)
	t.Row("status", m.Status)
	t.Row("to", m.To)
	if m.Content != "" {
		t.Row("content", m.Content)
	} else {
		t.Row("payload", string(m.Payload))
	}
	t.Row("destination", m.Destination)
	if m.Type != "" {
		t.Row("type", m.Type)
	}
	t.Row("priority", m.Priority)
	t.Row("attempts", m.Attempts)
	t.Row("created", output.Time(&m.CreatedAt))
	if m.DeliverAt.Sub(m.CreatedAt) > time.Second { // less is the difference of two clocks, or the time that storing took
		t.Row("deliver at", output.Time(&m.DeliverAt))
	}
	for _, moment := range []struct {
		name string
		at   *time.Time
	}{{"queued", m.QueuedAt}, {"next attempt", m.NextAttemptAt}, {"sent", m.SentAt}, {"expires", m.ExpiresAt}} {
		if moment.at != nil {
			t.Row(moment.name, output.Time(moment.at))
		}
	}
	if m.ExternalID != "" {
		t.Row("external id", m.ExternalID)
	}
	if m.LastError != "" {
		t.Row("last error", output.Styled(m.LastError, output.StyleBad))
	}
}

func fillMessages(t *output.Table, messages []message.Message) {
	t.Head("ID", "STATUS", "TO", "ATTEMPTS", "CREATED", "LAST ERROR")
	for _, m := range messages {
		t.Row(m.ID, m.Status, m.To, m.Attempts, output.Time(&m.CreatedAt), output.Styled(m.LastError, output.StyleBad))
	}
}

// rounded drops the digits of a duration that do not matter.
func rounded(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

func fillAttempts(t *output.Table, attempts []message.Attempt) {
	t.Head("NUMBER", "STARTED", "TOOK", "OUTCOME", "STATUS", "ERROR")
	for _, a := range attempts {
		outcome := output.Styled(a.Outcome, output.StyleBad)
		switch a.Outcome {
		case message.OutcomeSuccess:
			outcome.Style = output.StyleGood
		case message.OutcomeRetry:
			outcome.Style = output.StyleWaiting
		}
		t.Row(a.Number, output.Time(&a.StartedAt), rounded(a.Duration), outcome, a.HTTPStatus, a.Error)
	}
}
