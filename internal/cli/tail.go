package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/command"
	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/internal/cli/environment"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// tailFlags select the events that are shown.
type tailFlags struct {
	types       []string
	destination string
	id          string
	since       time.Duration
	count       int
	json        bool
}

func newTail() *cobra.Command {
	var flags tailFlags
	cmd := &cobra.Command{
		Use: "tail", Short: "Follow the events of messages as they happen", GroupID: "messages",
		Long: `Shows events as they are published, one per line, until Ctrl-C. It reads them from
NATS, at NATS_URL and under PREFIX. With --json each line is the CloudEvent.`,
		Example: `  dispatch tail
  dispatch tail --type failed,attempted --since 10m
  dispatch tail --id 01932a5c-6a00-7f3e-9b1d-0242ac120002 --since 24h
  dispatch tail --type sent --json --count 100`,
	}
	f := cmd.Flags()
	f.StringSliceVar(&flags.types, "type", nil, "only these: "+strings.Join(names(message.EventTypes()), ", ")+"; repeatable")
	f.StringVar(&flags.destination, "destination", "", "only this destination")
	f.StringVar(&flags.id, "id", "", "only this message")
	f.DurationVar(&flags.since, "since", 0, "start with events this old (events are kept for 7 days)")
	f.IntVar(&flags.count, "count", 0, "stop after this many events; 0: never")
	f.BoolVar(&flags.json, "json", false, "print each event as a line of JSON")
	command.Complete(cmd, "type", names(message.EventTypes())...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := flags.check(); err != nil {
			return err
		}
		cfg, err := environment.Load[struct{ NATS settings.NATS }](cmd)
		if err != nil {
			return err
		}
		topology := events.NewTopology(cfg.NATS.Prefix, cfg.NATS.Replicas)
		js, err := connect.NATS(jetstream.Access(cfg.NATS.NATSAccess), topology,
			nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
				if err != nil { // without an error we closed it ourselves
					fmt.Fprintln(cmd.ErrOrStderr(), "connection to NATS lost; reconnecting")
				}
			}),
			nats.ReconnectHandler(func(*nats.Conn) { fmt.Fprintln(cmd.ErrOrStderr(), "reconnected to NATS") }))
		if err != nil {
			return err
		}
		defer js.Close()
		return follow(cmd, js, flags)
	}
	return cmd
}

func (flags *tailFlags) check() error {
	for _, kind := range flags.types {
		if !slices.Contains(message.EventTypes(), message.EventType(kind)) {
			return exit.Usage(fmt.Errorf("--type %q: there are %s", kind, strings.Join(names(message.EventTypes()), ", ")))
		}
	}
	if flags.destination != "" && !message.DestinationPattern.MatchString(flags.destination) {
		return exit.Usage(errors.New("--destination must be a destination's name: a-z, 0-9, '_' and '-'"))
	}
	if flags.since < 0 || flags.count < 0 {
		return exit.Usage(errors.New("--since and --count must not be negative"))
	}
	if flags.id != "" {
		id, err := parseID(flags.id)
		if err != nil {
			return err
		}
		flags.id = id.String() // as events write it
	}
	return nil
}

// subjects returns the subjects of the selected events.
func (flags *tailFlags) subjects(topology events.Topology) []string {
	destination, types := ">", flags.types
	if flags.destination != "" {
		destination = flags.destination
	}
	if len(types) == 0 {
		types = []string{"*"}
	}
	subjects := make([]string, len(types))
	for i, kind := range types {
		subjects[i] = topology.EventSubject(message.EventType(kind), destination)
	}
	slices.Sort(subjects)
	return slices.Compact(subjects) // the server refuses duplicates
}

// follow shows events until ctx ends, or until it has shown --count of them.
func follow(cmd *cobra.Command, js *jetstream.Client, flags tailFlags) error {
	ctx := cmd.Context()
	config := natsjs.OrderedConsumerConfig{FilterSubjects: flags.subjects(js.Topology), DeliverPolicy: natsjs.DeliverNewPolicy}
	if flags.since > 0 {
		from := time.Now().Add(-flags.since)
		config.DeliverPolicy, config.OptStartTime = natsjs.DeliverByStartTimePolicy, &from
	}
	bounded, cancel := context.WithTimeout(ctx, connect.Patience)
	defer cancel()
	consumer, err := js.OrderedConsumer(bounded, js.EventsStream(), config)
	switch {
	case errors.Is(err, natsjs.ErrStreamNotFound):
		return fmt.Errorf("there is no stream %s: PREFIX names another installation, or run: dispatch provision", js.EventsStream())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, natsjs.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		return exit.Unreachable(fmt.Errorf("JetStream does not answer: %w", err))
	case err != nil:
		return fmt.Errorf("read stream %s: %w", js.EventsStream(), err)
	}
	messages, err := consumer.Messages(natsjs.PullMaxMessagesWithBytesLimit(tailAhead, tailAheadBytes))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", js.EventsStream(), err)
	}
	defer messages.Stop()
	if output.IsTerminal(cmd.ErrOrStderr()) {
		fmt.Fprintf(cmd.ErrOrStderr(), "Watching %s; Ctrl-C ends it\n", strings.Join(config.FilterSubjects, " "))
	}
	for shown := 0; flags.count == 0 || shown < flags.count; {
		msg, err := messages.Next(natsjs.NextContext(ctx))
		if ctx.Err() != nil {
			return nil // Ctrl-C is the normal end
		}
		if err != nil {
			return fmt.Errorf("read stream %s: %w", js.EventsStream(), err)
		}
		printed, err := printEvent(cmd.OutOrStdout(), msg.Data(), flags)
		if err != nil {
			return err
		}
		if printed {
			shown++
		}
	}
	return nil
}

// Limits of what the server sends ahead. An event with content is up to 1 MiB.
const (
	tailAhead      = 500
	tailAheadBytes = 8 << 20
)

// shownEvent is the part of an event that is shown.
type shownEvent struct {
	events.Envelope
	Data struct {
		events.Data
		Code string `json:"code"` // of a rejection
	} `json:"data"`
}

func printEvent(out io.Writer, data []byte, flags tailFlags) (printed bool, err error) {
	var e shownEvent
	if err := json.Unmarshal(data, &e); err != nil {
		return false, nil //nolint:nilerr // not an event of ours
	}
	if flags.id != "" && e.Subject != flags.id {
		return false, nil
	}
	if flags.json {
		_, err = fmt.Fprintf(out, "%s\n", data)
		return true, err
	}
	_, err = fmt.Fprintln(out, e.line(output.Coloured(out)))
	return true, err
}

var eventStyle = map[message.EventType]output.Style{
	message.EventQueued: output.StyleActive, message.EventAttempted: output.StyleWaiting, message.EventSent: output.StyleGood,
	message.EventFailed: output.StyleBad, message.EventExpired: output.StyleBad, message.EventRejected: output.StyleBad, message.EventCancelled: output.StyleQuiet,
}

// line formats an event for people.
func (e shownEvent) line(colours bool) string {
	kind := message.EventType(e.Type[strings.LastIndexByte(e.Type, '.')+1:])
	plain := func(text string) output.Cell { return output.Cell{Text: text} }
	parts := []output.Cell{
		plain(e.Time.Local().Format("15:04:05.000")),
		output.Styled(fmt.Sprintf("%-9s", kind), eventStyle[kind]),
		plain(e.Subject), plain(e.Data.Destination), plain(e.Data.To),
		output.Styled(e.Data.Code, output.StyleBad),
	}
	if e.Data.Outcome != nil && e.Data.Outcome.Attempt != nil {
		attempt := e.Data.Outcome.Attempt
		parts = append(parts, plain(fmt.Sprintf("attempt %d in %s", attempt.Number, attempt.Duration.Round(time.Millisecond))))
	}
	if e.Data.NextAttemptAt != nil && kind == message.EventAttempted {
		parts = append(parts, plain("next at "+e.Data.NextAttemptAt.Local().Format(time.TimeOnly)))
	}
	parts = append(parts, output.Styled(e.Data.LastError, output.StyleBad), plain(e.Data.ExternalID))
	var line []string
	for _, part := range parts {
		if part.Text = output.Printable(part.Text); part.Text != "" {
			line = append(line, part.Paint(colours))
		}
	}
	return strings.Join(line, "  ")
}
