package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/message-dispatcher/dispatch/migrations"
)

// Migrate brings the schema up to this program's version; a newer one stays as
// it is. Several at once are safe: each step is one transaction that holds an
// advisory lock. It returns ErrUnfinished if a step was begun and broke off,
// ErrLocked if another session holds a lock that a step needs, and
// ErrMayNotMigrate, with what to grant, if the role lacks a right. When ctx
// ends, a step that is under way is rolled back.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	for {
		version, err := SchemaVersion(ctx, pool)
		if err != nil {
			return explainDenied(ctx, pool, err)
		}
		if version >= LatestVersion() {
			return nil
		}
		if err := runStep(ctx, pool, step{from: version, to: version + 1, direction: "up", number: version + 1}); err != nil {
			return fmt.Errorf("migrate to version %d: %w", version+1, explainDenied(ctx, pool, err))
		}
	}
}

// MigrateDown takes the last step of the schema back, with the data that it
// made room for. Without a schema it does nothing. A schema that is newer than
// this program is an error: only the newer one knows the way back. Otherwise it
// returns the errors of Migrate.
func MigrateDown(ctx context.Context, pool *pgxpool.Pool) error {
	version, err := SchemaVersion(ctx, pool)
	if err != nil || version == 0 {
		return explainDenied(ctx, pool, err)
	}
	if known := LatestVersion(); version > known {
		return fmt.Errorf("schema is at version %d, this program knows up to %d: take it back with the newer one", version, known)
	}
	err = runStep(ctx, pool, step{from: version, to: version - 1, direction: "down", number: version})
	if err != nil {
		return fmt.Errorf("migrate down from version %d: %w", version, explainDenied(ctx, pool, err))
	}
	return nil
}

var losingStatement = regexp.MustCompile(`(?i)\b(DROP\s+(TABLE|COLUMN|SCHEMA)|TRUNCATE|DELETE)\b`)

// DownLosesData reports whether taking a version back drops what is stored. A
// version that this program does not know counts as one that does.
func DownLosesData(version int64) bool {
	statements, err := readStep(version, "down")
	return err != nil || losingStatement.MatchString(statements)
}

// Querier is a pool, a connection or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// SchemaVersion returns the version of the schema, 0 for none. It returns
// ErrUnfinished with the version of a step that was begun and not finished.
func SchemaVersion(ctx context.Context, on Querier) (int64, error) {
	present, err := hasVersion(ctx, on)
	if err != nil {
		return 0, fmt.Errorf("look up schema version: %w", err)
	}
	if !present {
		return 0, nil
	}
	var version int64
	var dirty bool
	if err := on.QueryRow(ctx, "SELECT coalesce(max(version), 0), coalesce(bool_or(dirty), false) FROM schema_migrations").Scan(&version, &dirty); err != nil {
		return 0, fmt.Errorf("look up schema version: %w", err)
	}
	if dirty {
		return version, fmt.Errorf("schema version %d: %w", version, ErrUnfinished)
	}
	return version, nil
}

// hasVersion reports whether there is a table for the version. It reads pg_class
// because that makes Postgres notice what other sessions did to the catalog;
// to_regclass alone, after the wait for a lock, may remember what was before.
func hasVersion(ctx context.Context, on Querier) (present bool, err error) {
	err = on.QueryRow(ctx, "SELECT count(*) > 0 FROM pg_class WHERE oid = to_regclass('schema_migrations')").Scan(&present)
	return present, err
}

// CheckSchema returns ErrNotMigrated unless the schema is at this program's
// version or a later one: migrations only add until the version before is
// out of use.
func CheckSchema(ctx context.Context, pool *pgxpool.Pool) error {
	version, err := SchemaVersion(ctx, pool)
	wanted := LatestVersion()
	switch {
	case errors.Is(err, ErrUnfinished):
		return fmt.Errorf("%w: %w", ErrNotMigrated, err)
	case err != nil:
		return err
	case version == 0:
		return fmt.Errorf("no schema: %w", ErrNotMigrated)
	case version < wanted:
		return fmt.Errorf("schema is at version %d, wanted %d: %w", version, wanted, ErrNotMigrated)
	}
	return nil
}

// LatestVersion returns the version that Migrate leads to.
func LatestVersion() int64 {
	files, err := fs.Glob(migrations.Files, "*.up.sql")
	if err != nil || len(files) == 0 {
		panic("db: no migrations are embedded")
	}
	var version int64
	for _, file := range files {
		var n int64
		if _, err := fmt.Sscanf(strings.TrimLeft(file, "0"), "%d_", &n); err == nil {
			version = max(version, n)
		}
	}
	return version
}
