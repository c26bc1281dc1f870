package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func newSend() *cobra.Command {
	var flags struct {
		payload, destination, kind, deliverAt, expiresAt, key string
		priority                                              int
		metadata                                              map[string]string
		wait, json                                            bool
	}
	cmd := &cobra.Command{
		Use: "send TO [CONTENT]", Short: "Send a message", GroupID: "messages",
		Example: `  dispatch send +905551111111 "Your code is 4711"
  dispatch send +905551111111 --payload '{"template":"welcome"}' --wait
  dispatch send +905551111111 hello --key order-7`,
		Args: cobra.RangeArgs(1, 2),
	}
	client := clientFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&flags.payload, "payload", "", "JSON to send as the webhook's body, instead of CONTENT; @FILE reads a file, - standard input")
	f.StringVar(&flags.destination, "destination", "", "destination (default \"default\")")
	f.StringVar(&flags.kind, "type", "", "event type, e.g. invoice.paid")
	f.IntVar(&flags.priority, "priority", message.DefaultPriority, "0 (last) to 9 (first)")
	f.StringVar(&flags.deliverAt, "deliver-at", "", "not before: RFC 3339, or a duration from now such as 10m")
	f.StringVar(&flags.expiresAt, "expires-at", "", "not after: RFC 3339, or a duration from now")
	f.StringToStringVar(&flags.metadata, "meta", nil, "metadata, KEY=VALUE; repeatable")
	f.StringVar(&flags.key, "key", "", "idempotency key: the same one again sends nothing")
	f.BoolVar(&flags.wait, "wait", false, "wait until the message is in a final state; exit 1 unless that is SENT")
	f.BoolVar(&flags.json, "json", false, "print JSON")

	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body := map[string]any{"to": args[0]}
		if len(args) == 2 {
			body["content"] = args[1]
		}
		if flags.payload != "" {
			payload, err := readPayload(cmd.InOrStdin(), flags.payload)
			if err != nil {
				return err
			}
			body["payload"] = payload
		}
		if cmd.Flags().Changed("priority") {
			body["priority"] = flags.priority
		}
		for name, value := range map[string]string{"destination": flags.destination, "type": flags.kind} {
			if value != "" {
				body[name] = value
			}
		}
		for name, value := range map[string]string{"deliverAt": flags.deliverAt, "expiresAt": flags.expiresAt} {
			if value != "" {
				body[name] = moment(value)
			}
		}
		if len(flags.metadata) > 0 {
			body["metadata"] = flags.metadata
		}
		var headers []string
		if flags.key != "" {
			headers = []string{"Idempotency-Key", flags.key}
		}
		api := client()
		var m message.Message
		if err := api.call(cmd.Context(), "POST", "/api/v1/messages", body, &m, headers...); err != nil {
			return err
		}
		if flags.wait {
			if err := awaitFinal(cmd.Context(), api, &m); err != nil {
				return err
			}
		}
		if err := show(cmd.OutOrStdout(), flags.json, m, func(w io.Writer) { printMessage(w, m) }); err != nil {
			return err
		}
		if flags.wait && m.Status != message.Sent {
			return &exitError{code: exitFailed}
		}
		return nil
	}
	return cmd
}

func readPayload(in io.Reader, value string) (json.RawMessage, error) {
	text := []byte(value)
	var err error
	switch {
	case value == "-":
		text, err = io.ReadAll(in)
	case strings.HasPrefix(value, "@"):
		text, err = os.ReadFile(value[1:])
	}
	if err != nil {
		return nil, usage(fmt.Errorf("read payload: %w", err))
	}
	if !json.Valid(text) {
		return nil, usage(fmt.Errorf("the payload is not JSON"))
	}
	return text, nil
}

// moment reads a duration from now; everything else is left to the API.
func moment(value string) string {
	if d, err := time.ParseDuration(value); err == nil {
		return time.Now().Add(d).UTC().Format(time.RFC3339Nano)
	}
	return value
}

// awaitFinal asks until the message is in a final state.
func awaitFinal(ctx context.Context, api *client, m *message.Message) error {
	const pause = 250 * time.Millisecond
	for !m.Status.Final() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		*m = message.Message{ID: m.ID}
		if err := api.call(ctx, "GET", "/api/v1/messages/"+m.ID.String(), nil, m); err != nil {
			return err
		}
	}
	return nil
}

func newGet() *cobra.Command {
	var asJSON, attempts bool
	cmd := &cobra.Command{
		Use: "get ID", Short: "Show a message, or its attempts", GroupID: "messages",
		Args: cobra.ExactArgs(1),
	}
	client := clientFlags(cmd)
	cmd.Flags().BoolVar(&attempts, "attempts", false, "show the attempts")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path := "/api/v1/messages/" + url.PathEscape(args[0])
		out := cmd.OutOrStdout()
		if attempts {
			var answer struct {
				Data []message.Attempt `json:"data"`
			}
			if err := client().call(cmd.Context(), "GET", path+"/attempts", nil, &answer); err != nil {
				return err
			}
			return show(out, asJSON, answer.Data, func(w io.Writer) { printAttempts(w, answer.Data) })
		}
		var m message.Message
		if err := client().call(cmd.Context(), "GET", path, nil, &m); err != nil {
			return err
		}
		return show(out, asJSON, m, func(w io.Writer) { printMessage(w, m) })
	}
	return cmd
}

func newList() *cobra.Command {
	var flags struct {
		statuses                    []string
		destination, to, kind, next string
		limit                       int
		json                        bool
	}
	cmd := &cobra.Command{
		Use: "list", Short: "List messages, newest first", GroupID: "messages",
		Example: `  dispatch list --status failed --limit 50`,
	}
	client := clientFlags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&flags.statuses, "status", nil, "only these states; repeatable")
	f.StringVar(&flags.destination, "destination", "", "only this destination")
	f.StringVar(&flags.to, "to", "", "only this recipient")
	f.StringVar(&flags.kind, "type", "", "only this type")
	f.IntVar(&flags.limit, "limit", 20, "how many, 1 to 100")
	f.StringVar(&flags.next, "cursor", "", "go on after a page")
	f.BoolVar(&flags.json, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		query := url.Values{"limit": {strconv.Itoa(flags.limit)}}
		for _, status := range flags.statuses {
			query.Add("status", status)
		}
		for name, value := range map[string]string{
			"destination": flags.destination, "to": flags.to, "type": flags.kind, "cursor": flags.next,
		} {
			if value != "" {
				query.Set(name, value)
			}
		}
		var page struct {
			Data       []message.Message `json:"data"`
			NextCursor *string           `json:"nextCursor"`
		}
		if err := client().call(cmd.Context(), "GET", "/api/v1/messages?"+query.Encode(), nil, &page); err != nil {
			return err
		}
		return show(cmd.OutOrStdout(), flags.json, page, func(w io.Writer) {
			printMessages(w, page.Data)
			if page.NextCursor != nil {
				fmt.Fprintf(w, "more: --cursor %s\n", *page.NextCursor)
			}
		})
	}
	return cmd
}
