package legacyimport

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/internal/cli/environment"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/input"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// importConfig is what an import needs to know of the installation it fills.
type importConfig struct {
	Postgres         settings.Postgres
	NATS             settings.NATS         // its PREFIX alone
	MaxContentLength int                   `env:"MAX_CONTENT_LENGTH" envDefault:"160"`
	WebhookRecipient message.RecipientKind `env:"WEBHOOK_RECIPIENT" envDefault:"phone"`
	EventContent     string                `env:"EVENT_CONTENT" envDefault:"none"`
}

type importFlags struct {
	from, table, rejects string
	renamed              []string
	dryRun, json         bool
	country              string
}

func Command() *cobra.Command {
	var flags importFlags
	cmd := &cobra.Command{
		Use: "import", Short: "Take over the messages of a go-message-dispatcher", GroupID: "care",
		Long: `Copies the table of the original go-message-dispatcher, or of one of its kind, into
the database that DATABASE_URL names: PENDING messages wait here and go out at the
pace, SENT and FAILED ones become history, with their times and external ids.

Stop the original first: what it sends after its row was read is sent twice.
It may run while the pipeline works, and again: nothing is imported twice. A row
that can't be a message is reported, with every mistake, and the exit code is 1.
--json prints a line for each of those and one with the sums.`,
		Example: `  dispatch import --from postgres://user@db/message_dispatcher --dry-run
  dispatch import --from postgres://user@db/message_dispatcher --rejects rejects.ndjson
  dispatch import --from postgres://user@db/sms --table outgoing --map mobile=to --map body=content`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runImport(cmd, flags) },
	}
	cmd.Flags().StringVar(&flags.from, "from", "", "where the table is: postgres://user:password@host:port/name, or without the password and PGPASSWORD")
	cmd.Flags().StringVar(&flags.table, "table", "messages", "its name, with the schema if that is not on the search path")
	cmd.Flags().StringArrayVar(&flags.renamed, "map", nil, "column=field: which column is to, content, status … where its name does not tell")
	cmd.Flags().StringVar(&flags.rejects, "rejects", "", "a new file for the rows that are no messages, as NDJSON, with their mistakes")
	cmd.Flags().StringVar(&flags.country, "country", "", "read numbers without a + as those of this country, TR or 90 (default: their + is missing and nothing else)")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "say what would be imported, and import nothing")
	cmd.Flags().BoolVar(&flags.json, "json", false, "print JSON")
	return cmd
}

func runImport(cmd *cobra.Command, flags importFlags) error {
	if flags.from == "" {
		return exit.Usage(errors.New("--from says where the table is: postgres://user:password@host:port/name"))
	}
	numbers := input.PhoneNumbers{Country: flags.country}
	if err := numbers.Check(); err != nil {
		return err
	}
	cfg, err := environment.Load[importConfig](cmd)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	target, err := connect.Postgres(ctx, cfg.Postgres.URL())
	if err != nil {
		return about("DATABASE_URL", err)
	}
	defer db.Close(target)
	if err := migrate.Check(ctx, target); err != nil {
		return about("DATABASE_URL", fmt.Errorf(`%w: run: dispatch provision`, err))
	}
	pool, err := connect.Postgres(ctx, flags.from)
	if err != nil {
		return about("--from", err)
	}
	defer db.Close(pool)
	from, err := openTable(ctx, pool, flags.table, flags.renamed)
	if err != nil {
		return err
	}
	report, err := newImportReport(cmd, flags, from)
	if err != nil {
		return err
	}
	i := importer{
		from: from, store: db.NewStore(target), report: report, dryRun: flags.dryRun,
		composer: events.NewComposer(events.NewTopology(cfg.NATS.Prefix, cfg.NATS.Replicas), cfg.EventContent == "full"),
		reader: rowReader{scope: from.scope(), table: from.name, numbers: numbers, rules: message.Rules{
			MaxContentLength: cfg.MaxContentLength,
			Destinations:     map[string]message.RecipientKind{message.DefaultDestination: cfg.WebhookRecipient},
		}},
	}
	err = errors.Join(i.run(ctx), report.finish())
	if err == nil && report.sums.Rejected > 0 {
		return exit.Silent(exit.CodeFailed)
	}
	return err
}

// about says which of two databases an error is about, and keeps its code.
func about(which string, err error) error {
	return exit.WithCode(err, fmt.Errorf("%s: %w", which, err))
}

// importer copies a table, page by page.
type importer struct {
	from     *sourceTable
	store    *db.Store
	composer events.Composer
	reader   rowReader
	report   *importReport
	dryRun   bool
}

func (i *importer) run(ctx context.Context) error {
	for after := ""; ; {
		rows, err := i.from.page(ctx, after)
		if err != nil {
			return fmt.Errorf("%w; nothing is lost: repeat the same command", err)
		}
		if len(rows) == 0 {
			return nil
		}
		if err := i.take(ctx, rows); err != nil {
			return fmt.Errorf("%w; nothing is lost: repeat the same command", err)
		}
		failpoint.At(failpoint.ImportStored)
		after = rows[len(rows)-1].id
		i.report.progress(len(rows))
	}
}

// take imports one page.
func (i *importer) take(ctx context.Context, rows []sourceRow) error {
	group := make([]message.Message, 0, len(rows))
	for _, row := range rows {
		m, mistakes := i.reader.read(row)
		if len(mistakes) > 0 {
			if err := i.report.rejected(row, mistakes); err != nil {
				return err
			}
			continue
		}
		group = append(group, m)
	}
	fresh, err := i.put(ctx, group)
	if err != nil {
		return err
	}
	for _, m := range group {
		i.report.imported(m.Status, fresh[m.ID])
	}
	return nil
}

// put stores a group and returns the ids that are new.
func (i *importer) put(ctx context.Context, group []message.Message) (map[message.ID]bool, error) {
	if !i.dryRun {
		return i.store.Import(ctx, group, func(waiting []message.Message) []byte {
			return events.Encode(i.composer.Moved(message.EventCreated, waiting))
		})
	}
	keys := make([]string, len(group))
	for n, m := range group {
		keys[n] = m.IdempotencyKey
	}
	known, err := i.store.ImportedKeys(ctx, i.reader.scope, keys)
	if err != nil {
		return nil, err
	}
	fresh := make(map[message.ID]bool, len(group))
	for _, m := range group {
		fresh[m.ID] = !known[m.IdempotencyKey]
	}
	return fresh, nil
}
