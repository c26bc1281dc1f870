// Package legacyimport copies the messages of the original go-message-dispatcher,
// and of similar programs, into this database. It is one command and can be
// deleted with the line of package cli that adds it.
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
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// importConfig is the part of the configuration that an import needs.
type importConfig struct {
	Postgres         settings.Postgres
	NATS             settings.NATS         // only its PREFIX is used
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

// Command returns the command import.
func Command() *cobra.Command {
	var flags importFlags
	cmd := &cobra.Command{
		Use: "import", Short: "Import the messages of a go-message-dispatcher", GroupID: "maintenance",
		Long: `Copies the table of the original go-message-dispatcher, or of a similar program,
into the database in DATABASE_URL. PENDING messages wait here and are sent at the
pace. SENT and FAILED messages become history, with their times and external ids.

Stop the original first: a message that it sends after its row was read is sent
twice. The import can run while the services work, and can be repeated: nothing is
imported twice. A row that is not a valid message is reported with all its errors,
and the exit code is 1. --json prints a line for each of those rows, then the sums.`,
		Example: `  dispatch import --from postgres://user@db/message_dispatcher --dry-run
  dispatch import --from postgres://user@db/message_dispatcher --rejects rejects.ndjson
  dispatch import --from postgres://user@db/sms --table outgoing --map mobile=to --map body=content`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runImport(cmd, flags) },
	}
	cmd.Flags().StringVar(&flags.from, "from", "", "database of the table: postgres://user:password@host:port/name; PGPASSWORD can hold the password")
	cmd.Flags().StringVar(&flags.table, "table", "messages", "name of the table, with its schema if that is not in the search path")
	cmd.Flags().StringArrayVar(&flags.renamed, "map", nil, "column=field: the column of a field (to, content, status …), if its name is not known")
	cmd.Flags().StringVar(&flags.rejects, "rejects", "", "new file for the invalid rows, as NDJSON, with their errors")
	cmd.Flags().StringVar(&flags.country, "country", "", "read numbers without a + as those of this country, TR or 90 (default: only their + is missing)")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "count what would be imported, and import nothing")
	cmd.Flags().BoolVar(&flags.json, "json", false, "print JSON")
	return cmd
}

func runImport(cmd *cobra.Command, flags importFlags) error {
	if flags.from == "" {
		return exit.Usage(errors.New("--from is missing: postgres://user:password@host:port/name"))
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
	defer dbpool.Close(target)
	if err := migrate.Check(ctx, target); err != nil {
		return about("DATABASE_URL", fmt.Errorf(`%w: run: dispatch provision`, err))
	}
	pool, err := connect.Postgres(ctx, flags.from)
	if err != nil {
		return about("--from", err)
	}
	defer dbpool.Close(pool)
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
		builder: events.NewEventBuilder(events.NewTopology(cfg.NATS.Prefix, cfg.NATS.Replicas), cfg.EventContent == "full"),
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

// about names the database of an error, and keeps its exit code.
func about(which string, err error) error {
	return exit.WithCode(err, fmt.Errorf("%s: %w", which, err))
}

// importer copies a table, page by page.
type importer struct {
	from    *sourceTable
	store   *db.Store
	builder events.EventBuilder
	reader  rowReader
	report  *importReport
	dryRun  bool
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
		if err := i.importPage(ctx, rows); err != nil {
			return fmt.Errorf("%w; nothing is lost: repeat the same command", err)
		}
		failpoint.At(failpoint.ImportStored)
		after = rows[len(rows)-1].id
		i.report.progress(len(rows))
	}
}

// importPage imports one page.
func (i *importer) importPage(ctx context.Context, rows []sourceRow) error {
	group := make([]message.Message, 0, len(rows))
	for _, row := range rows {
		m, errs := i.reader.read(row)
		if len(errs) > 0 {
			if err := i.report.rejected(row, errs); err != nil {
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

// store stores a group, and returns the ids that are new.
func (i *importer) put(ctx context.Context, group []message.Message) (map[message.ID]bool, error) {
	if !i.dryRun {
		return i.store.Import(ctx, group, func(waiting []message.Message) []byte {
			return events.EncodeOutbox(i.builder.Transitions(message.EventCreated, waiting))
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
