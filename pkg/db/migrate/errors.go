package migrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	// ErrNotMigrated means that the schema is missing or older than this
	// program: `dispatch provision` brings it up to date.
	ErrNotMigrated = errors.New("schema is not up to date")
	// ErrUnfinished means that a step of the schema was begun and not
	// completed. A person has to repair that before the next step.
	ErrUnfinished = errors.New("a migration was not finished")
	// ErrLocked means that another session holds a lock that a step of the
	// schema needs. The same step may succeed later.
	ErrLocked = errors.New("another session holds a lock that this needs (see pg_locks)")
	// ErrMissingRight means that the role lacks a right that a step of the
	// schema needs.
	ErrMissingRight = errors.New("a right is missing")
)

// SQLSTATE codes of what stops a migration.
const (
	lockNotAvailable      = "55P03"
	insufficientPrivilege = "42501"
	noSuchSchema          = "3F000"
)

// explain adds what to do to an error about a missing right, or about a lock
// that another session holds.
func explain(ctx context.Context, pool *pgxpool.Pool, err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code {
	case lockNotAvailable:
		return fmt.Errorf("%w: %w", ErrLocked, err)
	case insufficientPrivilege, noSuchSchema:
		return fmt.Errorf("%w: %s: %w", ErrMissingRight, missingRight(ctx, pool), err)
	}
	return err
}

// missingRight says which right the role lacks and how to grant it.
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
