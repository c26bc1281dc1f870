package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/message-dispatcher/dispatch/migrations"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
)

// migrationLock is the advisory lock of a step of the schema.
const migrationLock = 0x6d6967726174

// limitLocks bounds how long a step waits for a lock, unless the role, the
// database or the URL does. A statement that changes a table and waits makes
// everything behind it wait too, so it gives up soon.
const limitLocks = "SELECT set_config('lock_timeout', '5s', true) WHERE current_setting('lock_timeout') = '0'"

// step leads from one version of the schema to the next, or back.
type step struct {
	from, to  int64
	direction string // "up" or "down"
	number    int64  // of the file with its statements
}

func readStep(number int64, direction string) (string, error) {
	files, err := fs.Glob(migrations.Files, fmt.Sprintf("%04d_*.%s.sql", number, direction))
	if err != nil || len(files) != 1 {
		return "", fmt.Errorf("there is no one file for step %d %s", number, direction)
	}
	statements, err := fs.ReadFile(migrations.Files, files[0])
	return string(statements), err
}

// runStep makes a step and writes its version, both or neither. If the schema
// is no longer at the version that the step begins with, another process was
// faster, and nothing is done. The lock belongs to the transaction, not to the
// session: it ends with it in every case, also behind a pooler.
func runStep(ctx context.Context, pool *pgxpool.Pool, s step) error {
	statements, err := readStep(s.number, s.direction)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, limitLocks); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", int64(migrationLock))); err != nil {
			return err
		}
		version, err := SchemaVersion(ctx, tx)
		if err != nil || version != s.from {
			return err
		}
		if err := writeVersion(ctx, tx, s.to); err != nil {
			return fmt.Errorf("write the version: %w", err)
		}
		if _, err := tx.Exec(ctx, statements); err != nil {
			return err
		}
		failpoint.At(failpoint.ProvisionStep)
		return nil
	})
}

// writeVersion keeps the table of golang-migrate, so that its command can read
// it.
func writeVersion(ctx context.Context, tx pgx.Tx, version int64) error {
	present, err := hasVersion(ctx, tx)
	if err == nil && !present {
		_, err = tx.Exec(ctx, "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)")
	}
	if err == nil {
		_, err = tx.Exec(ctx, "DELETE FROM schema_migrations")
	}
	if err == nil && version > 0 {
		_, err = tx.Exec(ctx, fmt.Sprintf("INSERT INTO schema_migrations (version, dirty) VALUES (%d, false)", version))
	}
	return err
}

// explainDenied adds to an error of a missing right, or of a lock that another
// session holds, what to do about it.
func explainDenied(ctx context.Context, pool *pgxpool.Pool, err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code {
	case lockNotAvailable:
		return fmt.Errorf("%w: %w", ErrLocked, err)
	case insufficientPrivilege, noSuchSchema:
		return fmt.Errorf("%w: %s: %w", ErrMayNotMigrate, missingRight(ctx, pool), err)
	}
	return err
}

// missingRight says which right the role lacks and who gives it.
func missingRight(ctx context.Context, pool *pgxpool.Pool) string {
	var role, path string
	var schema *string
	var mayCreate bool
	err := pool.QueryRow(ctx, `SELECT quote_ident(current_user), current_setting('search_path'), quote_ident(current_schema()),
		coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)`).Scan(&role, &path, &schema, &mayCreate)
	switch {
	case err != nil:
		return "run it as the role that owns the database"
	case schema == nil:
		return fmt.Sprintf("the role %s may use no schema of its search_path (%s); as the owner of one: GRANT USAGE, CREATE ON SCHEMA … TO %s", role, path, role)
	case !mayCreate:
		return fmt.Sprintf("the role %s may not create tables in the schema %s; as its owner: GRANT CREATE ON SCHEMA %s TO %s", role, *schema, *schema, role)
	}
	return fmt.Sprintf("the role %s does not own the tables in the schema %s; run it as the role that does", role, *schema)
}
