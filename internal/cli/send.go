package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/command"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/input"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
	"github.com/message-dispatcher/dispatch/internal/cli/upload"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

type sendFlags struct {
	payload, destination, kind, deliverAt, expiresAt, key string
	priority                                              int
	metadata                                              map[string]string
	wait, json                                            bool
	file                                                  input.Options
	numbers                                               input.PhoneNumbers
}

func newSend() *cobra.Command {
	var flags sendFlags
	cmd := &cobra.Command{
		Use: "send TO [CONTENT]", Short: "Send a message, or a file of them", GroupID: "messages",
		Long: `Sends one message; or with --file one for each line of a file:

  NDJSON  a line is the JSON of POST /api/v1/messages
  CSV     the first line names the columns:
          ` + strings.ReplaceAll(text.WrapSoft(input.ColumnNames, 70), "\n", "\n          ") + `

CSV is read as spreadsheets save it: separated by commas, semicolons or tabs, or
by what a first line such as sep=; says; with column names in any case; in UTF-8,
UTF-16 with a byte order mark, or the encoding in --encoding. A file that is not
text in this encoding is refused as a whole, with its bad lines and bytes.

Invalid lines are reported with all their errors, and the others are stored. On
standard input, lines that are not text are refused one by one too. With
--key-prefix the idempotency key of each line is the prefix and the line number.
The same command can then be repeated after an interruption: a line that is
stored is not stored again.`,
		Example: `  dispatch send +905551111111 "Your code is 4711"
  dispatch send +905551111111 --payload '{"template":"welcome"}' --wait
  dispatch send +905551111111 hello --key order-7
  dispatch send --file campaign.csv --key-prefix campaign-2026-05-
  dispatch send --file from-excel.csv --encoding windows-1254 --country TR
  zcat messages.ndjson.gz | dispatch send --file - --json`,
		Args: cobra.RangeArgs(0, 2),
	}
	api := apiFlags(cmd)
	flags.add(cmd.Flags())
	command.Complete(cmd, "format", input.FormatCSV, input.FormatNDJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case flags.file.Name != "":
			if err := onlyForFiles(cmd, args); err != nil {
				return err
			}
			if err := flags.numbers.Check(); err != nil {
				return err
			}
			flags.file.Numbers = flags.numbers
			return upload.Run(cmd, api(), flags.file, flags.json)
		case len(args) == 0:
			return exit.Usage(errors.New("TO is missing, or --file FILE"))
		case flags.file != input.Options{}:
			return exit.Usage(errors.New("--key-prefix, --format, --encoding and --separator go with --file"))
		}
		if err := flags.numbers.Check(); err != nil {
			return err
		}
		return sendOne(cmd, api(), args, flags)
	}
	return cmd
}

func (flags *sendFlags) add(f *pflag.FlagSet) {
	f.StringVar(&flags.payload, "payload", "", "JSON to send as the webhook's body, instead of CONTENT; @FILE reads a file, - standard input")
	f.StringVar(&flags.destination, "destination", "", "destination (default \"default\")")
	f.StringVar(&flags.kind, "type", "", "event type, e.g. invoice.paid")
	f.IntVar(&flags.priority, "priority", message.DefaultPriority, "0 (last) to 9 (first)")
	f.StringVar(&flags.deliverAt, "deliver-at", "", "not before: RFC 3339, or a duration from now such as 10m")
	f.StringVar(&flags.expiresAt, "expires-at", "", "not after: RFC 3339, or a duration from now")
	f.StringToStringVar(&flags.metadata, "meta", nil, "metadata, KEY=VALUE; repeatable")
	f.StringVar(&flags.key, "key", "", "idempotency key: a repeat with the same key sends nothing")
	f.BoolVar(&flags.wait, "wait", false, "wait until the message is in a final state; exit 1 unless that is SENT")
	f.StringVar(&flags.file.Name, "file", "", "send every line of this file; - reads standard input")
	f.StringVar(&flags.file.Format, "format", "", "of the file: ndjson or csv (default: by its name, or its first character)")
	f.StringVar(&flags.file.KeyPrefix, "key-prefix", "", "idempotency key of each line of the file: this and the line's number")
	f.StringVar(&flags.file.Encoding, "encoding", "", "of the file, such as windows-1254 (default: by its byte order mark, else UTF-8)")
	f.StringVar(&flags.file.Separator, "separator", "", "between the cells of the file: a character, or tab (default: by its first line)")
	flags.numbers.Add(f)
	f.BoolVar(&flags.json, "json", false, "print JSON; with --file a line for each line of it, then the sums")
}

// onlyForFiles refuses arguments and flags that mean nothing with --file, where
// each line has its own values.
func onlyForFiles(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return exit.Usage(errors.New("--file takes no TO and no CONTENT"))
	}
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "file", "format", "key-prefix", "json", "url", "encoding", "separator", "country", "plus":
		default:
			err = exit.Usage(fmt.Errorf("--%s does not go with --file; --format, --encoding, --separator, --country, --plus, --key-prefix, --json and --url do", f.Name))
		}
	})
	return err
}

func sendOne(cmd *cobra.Command, api *client.Client, args []string, flags sendFlags) error {
	body, err := flags.message(cmd, args)
	if err != nil {
		return err
	}
	var m message.Message
	err = api.Call(cmd.Context(), client.Request{Method: http.MethodPost, Path: "/api/v1/messages", Body: body, Key: flags.key}, &m)
	if err != nil {
		return advised(err, args[0])
	}
	if flags.wait {
		if err := awaitFinal(cmd.Context(), api, &m); err != nil {
			return err
		}
	}
	if err := output.Show(cmd.OutOrStdout(), flags.json, m, func(t *output.Table) { fillMessage(t, m) }); err != nil {
		return err
	}
	if flags.wait && m.Status != message.Sent {
		return exit.Silent(exit.CodeFailed)
	}
	return nil
}

// advised explains, if the API refuses a number without a +, how such numbers are read.
func advised(err error, to string) error {
	var refusal *client.Problem
	if errors.As(err, &refusal) && client.RefusesNumber(refusal) && input.WithoutPlus(to) {
		return fmt.Errorf("%w\n  %s", err, input.PlusAdvice)
	}
	return err
}

// message returns the request body for the flags and arguments.
func (flags *sendFlags) message(cmd *cobra.Command, args []string) ([]byte, error) {
	to, err := flags.numbers.Read(args[0])
	if err != nil {
		return nil, exit.Usage(fmt.Errorf("TO: %q %w", args[0], err))
	}
	var body input.Object
	body.Text("to", to)
	if len(args) == 2 {
		body.Raw("content", input.Quoted(args[1]))
	}
	if flags.payload != "" {
		payload, err := readPayload(cmd.InOrStdin(), flags.payload)
		if err != nil {
			return nil, err
		}
		body.Raw("payload", payload)
	}
	if cmd.Flags().Changed("priority") {
		if flags.priority < 0 || flags.priority > message.MaxPriority {
			return nil, exit.Usage(fmt.Errorf("--priority must be from 0 to %d", message.MaxPriority))
		}
		body.Raw("priority", []byte(strconv.Itoa(flags.priority)))
	}
	body.Text("destination", flags.destination)
	body.Text("type", flags.kind)
	body.Text("deliverAt", moment(flags.deliverAt))
	body.Text("expiresAt", moment(flags.expiresAt))
	if len(flags.metadata) > 0 {
		metadata, err := json.Marshal(flags.metadata)
		if err != nil {
			return nil, err
		}
		body.Raw("metadata", metadata)
	}
	return body.Bytes(), nil
}

func readPayload(in io.Reader, value string) ([]byte, error) {
	text := []byte(value)
	var err error
	switch {
	case value == "-":
		text, err = io.ReadAll(in)
	case strings.HasPrefix(value, "@"):
		text, err = os.ReadFile(value[1:])
	}
	if err != nil {
		return nil, exit.Usage(fmt.Errorf("read payload: %w", err))
	}
	if at := input.InvalidUTF8(string(text)); at >= 0 {
		return nil, exit.Usage(fmt.Errorf("the payload is not UTF-8: byte %d is 0x%02X", at+1, text[at]))
	}
	if !json.Valid(text) {
		return nil, exit.Usage(errors.New("the payload is not JSON"))
	}
	return text, nil
}

// awaitFinal polls until the message is in a final state.
func awaitFinal(ctx context.Context, api *client.Client, m *message.Message) error {
	const pause = 250 * time.Millisecond
	for !m.Status.Final() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		*m = message.Message{ID: m.ID}
		if err := api.Get(ctx, "/api/v1/messages/"+m.ID.String(), m); err != nil {
			return err
		}
	}
	return nil
}
