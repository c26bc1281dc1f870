package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/message-dispatcher/dispatch/migrations"
)

// Migrate brings the schema up to this program's version. Several at once are
// safe: they take turns by an advisory lock.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	source, err := iofs.New(migrations.Files, ".")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	sql := stdlib.OpenDBFromPool(pool)
	defer sql.Close()
	driver, err := migratepgx.WithInstance(sql, &migratepgx.Config{})
	if err != nil {
		return fmt.Errorf("prepare migration: %w", err)
	}
	m, err := migrate.NewWithInstance("migrations", source, "postgres", driver)
	if err != nil {
		return fmt.Errorf("prepare migration: %w", err)
	}
	defer m.Close()
	if err := m.Up(); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return fmt.Errorf("migrate: %w", err)
	}
	return ctx.Err()
}

// CheckSchema returns ErrNotMigrated unless the schema is at this program's
// version or a later one: migrations only add until the version before is
// out of use.
func CheckSchema(ctx context.Context, pool *pgxpool.Pool) error {
	var present bool
	if err := pool.QueryRow(ctx, "SELECT to_regclass('schema_migrations') IS NOT NULL").Scan(&present); err != nil {
		return fmt.Errorf("look up schema version: %w", err)
	}
	if !present {
		return fmt.Errorf("no schema: %w", ErrNotMigrated)
	}
	var version int64
	var dirty bool
	if err := pool.QueryRow(ctx, "SELECT coalesce(max(version), 0), coalesce(bool_or(dirty), false) FROM schema_migrations").Scan(&version, &dirty); err != nil {
		return fmt.Errorf("look up schema version: %w", err)
	}
	if wanted := LatestVersion(); dirty || version < wanted {
		return fmt.Errorf("schema is at version %d (unfinished: %t), wanted %d: %w", version, dirty, wanted, ErrNotMigrated)
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
