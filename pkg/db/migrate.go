package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/message-dispatcher/dispatch/migrations"
)

// Migrate brings the schema up to this program's version; a newer one stays as
// it is. Several at once are safe: they take turns by an advisory lock. It
// returns ErrUnfinished when a step was begun and broke off.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	version, err := SchemaVersion(ctx, pool)
	if err != nil || version >= LatestVersion() {
		return err
	}
	m, done, err := migrator(pool)
	if err != nil {
		return err
	}
	defer done()
	if err := m.Up(); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return fmt.Errorf("migrate: %w", disclosed(err))
	}
	return ctx.Err()
}

// disclosed is an error of the migrations with that of Postgres, which the
// library mentions and does not wrap.
func disclosed(err error) error {
	var closed *database.Error
	if errors.As(err, &closed) && closed.OrigErr != nil {
		return fmt.Errorf("%w: %w", err, closed.OrigErr)
	}
	return err
}

// MigrateDown takes the last step of the schema back, with the data that it
// made room for. Without a schema it does nothing. A schema that is newer than
// this program is an error: only the newer one knows the way back.
func MigrateDown(ctx context.Context, pool *pgxpool.Pool) error {
	version, err := SchemaVersion(ctx, pool)
	if err != nil || version == 0 {
		return err
	}
	if known := LatestVersion(); version > known {
		return fmt.Errorf("schema is at version %d, this program knows up to %d: take it back with the newer one", version, known)
	}
	m, done, err := migrator(pool)
	if err != nil {
		return err
	}
	defer done()
	if err := m.Steps(-1); err != nil {
		return fmt.Errorf("migrate down from version %d: %w", version, err)
	}
	return ctx.Err()
}

func migrator(pool *pgxpool.Pool) (m *migrate.Migrate, done func(), err error) {
	source, err := iofs.New(migrations.Files, ".")
	if err != nil {
		return nil, nil, fmt.Errorf("read migrations: %w", err)
	}
	sql := stdlib.OpenDBFromPool(pool)
	driver, err := migratepgx.WithInstance(sql, &migratepgx.Config{})
	if err != nil {
		sql.Close()
		return nil, nil, fmt.Errorf("prepare migration: %w", disclosed(err))
	}
	m, err = migrate.NewWithInstance("migrations", source, "postgres", &steps{Driver: driver, sql: sql})
	if err != nil {
		sql.Close()
		return nil, nil, fmt.Errorf("prepare migration: %w", err)
	}
	return m, func() {
		m.Close()
		sql.Close()
	}, nil
}

var losingStatement = regexp.MustCompile(`(?i)\b(DROP\s+(TABLE|COLUMN|SCHEMA)|TRUNCATE|DELETE)\b`)

// DownLosesData reports whether taking a version back drops what is stored. A
// version that this program does not know counts as one that does.
func DownLosesData(version int64) bool {
	files, err := fs.Glob(migrations.Files, fmt.Sprintf("%04d_*.down.sql", version))
	if err != nil || len(files) != 1 {
		return true
	}
	statements, err := fs.ReadFile(migrations.Files, files[0])
	return err != nil || losingStatement.Match(statements)
}

// SchemaVersion returns the version of the schema, 0 for none. It returns
// ErrUnfinished with the version of a step that was begun and not finished.
func SchemaVersion(ctx context.Context, pool *pgxpool.Pool) (int64, error) {
	var present bool
	if err := pool.QueryRow(ctx, "SELECT to_regclass('schema_migrations') IS NOT NULL").Scan(&present); err != nil {
		return 0, fmt.Errorf("look up schema version: %w", err)
	}
	if !present {
		return 0, nil
	}
	var version int64
	var dirty bool
	if err := pool.QueryRow(ctx, "SELECT coalesce(max(version), 0), coalesce(bool_or(dirty), false) FROM schema_migrations").Scan(&version, &dirty); err != nil {
		return 0, fmt.Errorf("look up schema version: %w", err)
	}
	if dirty {
		return version, fmt.Errorf("schema version %d: %w", version, ErrUnfinished)
	}
	return version, nil
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
