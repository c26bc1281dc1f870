package migrate

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
)

// advisoryLock is held while a step runs.
const advisoryLock = 0x6d6967726174

// limitLocks bounds how long a step waits for a lock, unless the role, the
// database or the URL sets a bound. A waiting ALTER TABLE makes all statements
// behind it wait too, so a step gives up soon.
const limitLocks = "SELECT set_config('lock_timeout', '5s', true) WHERE current_setting('lock_timeout') = '0'"

// step leads from one version of the schema to the next, or back.
type step struct {
	from, to  int64
	direction string // "up" or "down"
	number    int64  // of the file with the statements
}

func (s steps) read(number int64, direction string) (string, error) {
	files, err := fs.Glob(s.files, fmt.Sprintf("%04d_*.%s.sql", number, direction))
	if err != nil || len(files) != 1 {
		return "", fmt.Errorf("there is no one file for step %d %s", number, direction)
	}
	statements, err := fs.ReadFile(s.files, files[0])
	return string(statements), err
}

func (s steps) latest() int64 {
	files, err := fs.Glob(s.files, "*.up.sql")
	if err != nil || len(files) == 0 {
		panic("migrate: no steps are embedded")
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

var losingStatement = regexp.MustCompile(`(?i)\b(DROP\s+(TABLE|COLUMN|SCHEMA)|TRUNCATE|DELETE)\b`)

func (s steps) downLosesData(version int64) bool {
	statements, err := s.read(version, "down")
	return err != nil || losingStatement.MatchString(statements)
}

// run executes a step and writes its version, both or neither. If the schema no
// longer has the version that the step starts from, another process was faster,
// and nothing is done. The lock belongs to the transaction and not to the
// session, so it always ends with the step, also behind a pooler.
func (s steps) run(ctx context.Context, pool *pgxpool.Pool, next step) error {
	statements, err := s.read(next.number, next.direction)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, limitLocks); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", int64(advisoryLock))); err != nil {
			return err
		}
		version, err := Version(ctx, tx)
		if err != nil || version != next.from {
			return err
		}
		if err := writeVersion(ctx, tx, next.to); err != nil {
			return fmt.Errorf("write the version: %w", err)
		}
		if _, err := tx.Exec(ctx, statements); err != nil {
			return err
		}
		failpoint.At(failpoint.ProvisionStep)
		return nil
	})
}

// hasVersion reports whether the version table exists. It reads pg_class,
// because that makes Postgres notice what other sessions changed in the
// catalog. to_regclass alone may return an older state after waiting for a lock.
func hasVersion(ctx context.Context, on Querier) (present bool, err error) {
	err = on.QueryRow(ctx, "SELECT count(*) > 0 FROM pg_class WHERE oid = to_regclass('schema_migrations')").Scan(&present)
	return present, err
}

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
