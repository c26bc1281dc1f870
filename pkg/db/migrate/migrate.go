// Package migrate applies the steps of the schema in migrations/, and takes
// them back.
//
// A step is one transaction that holds an advisory lock: it happens completely
// or not at all, and several processes may migrate at once. The version is in
// the table of golang-migrate, so its command can read it.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/message-dispatcher/dispatch/migrations"
)

// Querier is a pool, a connection or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Up brings the schema to this program's version. A newer schema stays as it
// is. It returns ErrUnfinished if a step was begun and not completed, ErrLocked
// if another session holds a lock that a step needs, and ErrMissingRight, with
// the GRANT to run, if the role lacks a right. If ctx ends, the current step is
// rolled back.
func Up(ctx context.Context, pool *pgxpool.Pool) error { return released().up(ctx, pool) }

// Down takes back the last step of the schema, together with the data that is
// stored in it. Without a schema it does nothing. A schema that is newer than
// this program is an error, because only the newer program knows how to take
// its step back. Otherwise it returns the errors of Up.
func Down(ctx context.Context, pool *pgxpool.Pool) error { return released().down(ctx, pool) }

// Check returns ErrNotMigrated unless the schema has this program's version or
// a later one. A later one is fine: steps only add, until the previous release
// is out of use.
func Check(ctx context.Context, pool *pgxpool.Pool) error { return released().check(ctx, pool) }

// Version returns the version of the schema, 0 if there is none. For a step
// that was begun and not completed it returns its version and ErrUnfinished.
func Version(ctx context.Context, on Querier) (int64, error) {
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

// LatestVersion returns the version that Up leads to.
func LatestVersion() int64 { return released().latest() }

// DownLosesData reports whether taking back a version drops stored data. It
// returns true for a version that this program does not know.
func DownLosesData(version int64) bool { return released().downLosesData(version) }

// released are the steps that this program contains.
func released() steps { return steps{migrations.Files} }

// steps are files NNNN_name.{up,down}.sql.
type steps struct{ files fs.FS }

func (s steps) up(ctx context.Context, pool *pgxpool.Pool) error {
	for {
		version, err := Version(ctx, pool)
		if err != nil {
			return explain(ctx, pool, err)
		}
		if version >= s.latest() {
			return nil
		}
		if err := s.run(ctx, pool, step{from: version, to: version + 1, direction: "up", number: version + 1}); err != nil {
			return fmt.Errorf("migrate to version %d: %w", version+1, explain(ctx, pool, err))
		}
	}
}

func (s steps) down(ctx context.Context, pool *pgxpool.Pool) error {
	version, err := Version(ctx, pool)
	if err != nil || version == 0 {
		return explain(ctx, pool, err)
	}
	if known := s.latest(); version > known {
		return fmt.Errorf("schema is at version %d, this program knows up to %d: take it back with the newer one", version, known)
	}
	if err := s.run(ctx, pool, step{from: version, to: version - 1, direction: "down", number: version}); err != nil {
		return fmt.Errorf("migrate down from version %d: %w", version, explain(ctx, pool, err))
	}
	return nil
}

func (s steps) check(ctx context.Context, pool *pgxpool.Pool) error {
	version, err := Version(ctx, pool)
	wanted := s.latest()
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
