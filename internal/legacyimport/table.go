package legacyimport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
)

// pageSize is the number of rows that are read and stored together.
const pageSize = 1000

// sourceField is a field of a message, and the columns that may have it.
type sourceField struct {
	name     string
	cast     string
	required bool
	columns  []string // known names, the original's first
}

// sourceFields are all fields, in the order in which a page selects them. Without a
// status column, sentAt decides whether a message was sent.
var sourceFields = []sourceField{
	{"id", "text", true, []string{"id", "uuid"}},
	{"to", "text", true, []string{"phone_number", "recipient", "to", "phone", "recipient_phone", "recipient_phone_number", "recipient_number", "to_number"}},
	{"content", "text", true, []string{"content", "message", "body", "text", "message_content"}},
	{"status", "text", false, []string{"status", "sending_status", "state", "sent", "is_sent"}},
	{"externalId", "text", false, []string{"external_id", "message_id", "remote_message_id", "provider_message_id", "external_message_id"}},
	{"attempts", "bigint", false, []string{"retry_count", "attempt_count", "attempts", "retries"}},
	{"lastError", "text", false, []string{"last_error", "error_message", "failure_reason", "error"}},
	{"createdAt", "timestamptz", true, []string{"created_at", "created"}},
	{"updatedAt", "timestamptz", false, []string{"updated_at", "updated"}},
	{"sentAt", "timestamptz", false, []string{"sent_at"}},
}

func sourceFieldNames() string {
	names := make([]string, len(sourceFields))
	for i, f := range sourceFields {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

// sourceColumn is a column of the table that is imported.
type sourceColumn struct {
	name, kind string
	unique     bool // and NOT NULL: a value identifies a row
}

// sourceTable is the table that is imported.
type sourceTable struct {
	pool    *pgxpool.Pool
	name    string                  // schema.table
	columns map[string]sourceColumn // by field
	total   int64
}

// scope is the scope of the idempotency keys, which are the ids of the table.
func (t *sourceTable) scope() string { return "import:" + t.name }

const sourceColumnsQuery = `
	SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull AND EXISTS (
		SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indisvalid
			AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum)
	FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
	ORDER BY a.attnum`

// openTable finds a table and the column of each field. If something is missing,
// the error lists what was looked for.
func openTable(ctx context.Context, pool *pgxpool.Pool, name string, renamed []string) (*sourceTable, error) {
	t := &sourceTable{pool: pool}
	err := pool.QueryRow(ctx, `SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = to_regclass($1)`, name).Scan(&t.name)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, noSuchTable(ctx, pool, name)
	}
	if err != nil {
		return nil, fmt.Errorf("--table %s: %s", name, connect.LastLine(err))
	}
	rows, err := pool.Query(ctx, sourceColumnsQuery, name)
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", t.name, err)
	}
	columns, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c sourceColumn, err error) {
		return c, row.Scan(&c.name, &c.kind, &c.unique)
	})
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", t.name, err)
	}
	if t.columns, err = matchColumns(t.name, columns, renamed); err != nil {
		return nil, exit.Usage(err)
	}
	if err := pool.QueryRow(ctx, "SELECT count(*) FROM "+t.quoted()).Scan(&t.total); err != nil {
		return nil, fmt.Errorf("--from: count %s: %s", t.name, connect.LastLine(err))
	}
	return t, nil
}

func noSuchTable(ctx context.Context, pool *pgxpool.Pool, name string) error {
	var database, there string
	err := pool.QueryRow(ctx, `SELECT current_database(), coalesce(string_agg(n.nspname || '.' || c.relname, ', ' ORDER BY c.relname), 'none')
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') GROUP BY 1`).Scan(&database, &there)
	if errors.Is(err, pgx.ErrNoRows) {
		return exit.Usage(fmt.Errorf("--table: there is no table %q: this database has no tables", name))
	}
	if err != nil {
		return fmt.Errorf("look up table %s: %w", name, err)
	}
	return exit.Usage(fmt.Errorf("--table: there is no table %q in the database %s; there are: %s", name, database, there))
}

// matchColumns finds the column of each field: by --map, else by its name.
func matchColumns(table string, columns []sourceColumn, renamed []string) (map[string]sourceColumn, error) {
	byName := map[string]sourceColumn{}
	var there []string
	for _, c := range columns {
		byName[plainName(c.name)] = c
		there = append(there, c.name)
	}
	if _, own := byName[plainName("lease_until")]; own {
		return nil, fmt.Errorf("--table: %s is a table of Message Dispatcher; --from must name the original's database", table)
	}
	matched, err := renamedColumns(byName, renamed)
	if err != nil {
		return nil, fmt.Errorf("%w\n  %s has the columns %s", err, table, strings.Join(there, ", "))
	}
	var missing []string
	for _, f := range sourceFields {
		for _, name := range f.columns {
			if c, ok := byName[plainName(name)]; ok && matched[f.name].name == "" {
				matched[f.name] = c
			}
		}
		if f.required && matched[f.name].name == "" {
			missing = append(missing, fmt.Sprintf("\n  %s: there is no column %s", f.name, strings.Join(f.columns, ", ")))
		}
	}
	if matched["status"].name == "" && matched["sentAt"].name == "" {
		missing = append(missing, "\n  status or sentAt: no column says what was sent")
	}
	switch id := matched["id"]; {
	case len(missing) > 0:
		return nil, fmt.Errorf("the columns of %s are not known:%s\n  it has %s\n  --map column=field names them; the fields are %s",
			table, strings.Join(missing, ""), strings.Join(there, ", "), sourceFieldNames())
	case !id.unique:
		return nil, fmt.Errorf("the column %s of %s is not an id: it needs a primary key, or a unique index and NOT NULL", id.name, table)
	}
	return matched, nil
}

func renamedColumns(byName map[string]sourceColumn, renamed []string) (map[string]sourceColumn, error) {
	matched := map[string]sourceColumn{}
	for _, pair := range renamed {
		column, field, ok := strings.Cut(pair, "=")
		c, there := byName[plainName(column)]
		switch {
		case !ok:
			return nil, fmt.Errorf("--map %s: must be column=field", pair)
		case !there:
			return nil, fmt.Errorf("--map %s: there is no column %s", pair, column)
		case !slices.ContainsFunc(sourceFields, func(f sourceField) bool { return f.name == field }):
			return nil, fmt.Errorf("--map %s: there is no field %s; the fields are %s", pair, field, sourceFieldNames())
		}
		matched[field] = c
	}
	return matched, nil
}

// plainName makes phone_number, phoneNumber and PhoneNumber equal.
func plainName(name string) string {
	return strings.ToLower(strings.ReplaceAll(name, "_", ""))
}

func (t *sourceTable) quoted() string {
	schema, table, _ := strings.Cut(t.name, ".")
	return pgx.Identifier{schema, table}.Sanitize()
}

// sourceRow is a row of the table.
type sourceRow struct {
	id                                         string
	to, content, status, externalID, lastError *string
	attempts                                   *int64
	createdAt, updatedAt, sentAt               pgtype.Timestamptz
}

// page returns the rows that follow an id, in the order of ids. No transaction is
// open between two pages: a snapshot as long as the import would keep Postgres from
// vacuuming.
func (t *sourceTable) page(ctx context.Context, after string) ([]sourceRow, error) {
	selected := make([]string, len(sourceFields))
	for i, f := range sourceFields {
		selected[i] = "NULL::" + f.cast
		if c := t.columns[f.name]; c.name != "" {
			selected[i] = pgx.Identifier{c.name}.Sanitize() + "::" + f.cast
		}
	}
	id := t.columns["id"]
	column := pgx.Identifier{id.name}.Sanitize()
	query := "SELECT " + strings.Join(selected, ", ") + " FROM " + t.quoted()
	var args []any
	if after != "" {
		query += " WHERE " + column + " > $1::text::" + id.kind
		args = append(args, after)
	}
	rows, err := t.pool.Query(ctx, query+" ORDER BY "+column+fmt.Sprintf(" LIMIT %d", pageSize), args...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.name, err)
	}
	page, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r sourceRow, err error) {
		return r, row.Scan(&r.id, &r.to, &r.content, &r.status, &r.externalID, &r.attempts, &r.lastError, &r.createdAt, &r.updatedAt, &r.sentAt)
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.name, err)
	}
	return page, nil
}
