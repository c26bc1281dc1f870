package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/message-dispatcher/dispatch/pkg/db"
)

// oldestPostgres is the oldest major version that the schema works with.
const oldestPostgres = 14

func (d *doctor) postgres(ctx context.Context) {
	const check = "postgres"
	if d.env["DATABASE_URL"] == "" && d.env["DB_HOST"] == "" {
		d.skip(check, "not looked at: neither DATABASE_URL nor DB_HOST is set", `the services need one of them; "dispatch up" brings its own`)
		return
	}
	pool, err := openDatabase(ctx, d.cfg.Provision.Postgres.URL())
	if err != nil {
		d.away(check, err, "see that it runs, that this machine may connect, and that DATABASE_URL is right")
		return
	}
	defer pool.Close()
	ctx, cancel := context.WithTimeout(ctx, reachWait)
	defer cancel()

	var version int
	var readOnly bool
	var now time.Time
	sent := time.Now()
	err = pool.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('transaction_read_only')::bool, clock_timestamp()`).
		Scan(&version, &readOnly, &now)
	answered := time.Now()
	if err != nil {
		d.away(check, err, "see the log of Postgres")
		return
	}
	if major := version / 10_000; major < oldestPostgres {
		d.wrong(check, fmt.Sprintf("reachable, version %d", major), fmt.Sprintf("upgrade it to version %d or later", oldestPostgres))
	} else {
		d.good(check, fmt.Sprintf("reachable, version %d.%d", major, version%10_000))
	}
	d.clock(check, now, sent, answered)
	d.permissions(ctx, pool, readOnly)
	d.schema(ctx, pool)
}

// permissions looks for what the services and provision may not do.
func (d *doctor) permissions(ctx context.Context, pool *pgxpool.Pool, readOnly bool) {
	const check = "postgres"
	if readOnly {
		d.wrong(check, "takes no writes: a standby, or default_transaction_read_only", "let DATABASE_URL lead to the primary")
		return
	}
	var missing []string
	var mayCreate bool
	err := pool.QueryRow(ctx, `
		SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), array(
			SELECT p || ' on ' || relname
			FROM pg_class, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p
			WHERE relnamespace = current_schema()::regnamespace
			  AND relname IN ('messages', 'attempts', 'outbox', 'schedule', 'status_counts')
			  AND NOT has_table_privilege(pg_class.oid, p)
			ORDER BY relname, p)`).Scan(&mayCreate, &missing)
	switch {
	case err != nil:
		d.away(check, err, "see the log of Postgres")
	case len(missing) > 0:
		d.wrong(check, "this user lacks "+strings.Join(missing, ", "), "GRANT it, or run the services as the user that owns the tables")
	case !mayCreate:
		d.skip(check, "this user may use the tables and not make any", `enough for the services; "dispatch provision" needs CREATE on the schema`)
	default:
		d.good(check, "this user may do all that is needed")
	}
}

func (d *doctor) schema(ctx context.Context, pool *pgxpool.Pool) {
	const check = "schema"
	const provision = "run: dispatch provision"
	err := db.CheckSchema(ctx, pool)
	switch {
	case errors.Is(err, db.ErrUnfinished):
		d.wrong(check, err.Error(), unfinishedRemedy)
		return
	case errors.Is(err, db.ErrNotMigrated):
		d.wrong(check, err.Error(), provision)
		return
	case err != nil:
		d.away(check, err, "see the log of Postgres")
		return
	}
	switch err := db.NewStore(pool).CheckSchedule(ctx); {
	case errors.Is(err, db.ErrNotProvisioned):
		d.wrong(check, err.Error(), provision)
	case err != nil:
		d.away(check, err, "see the log of Postgres")
	default:
		d.good(check, fmt.Sprintf("up to date, this program's is version %d", db.LatestVersion()))
	}
}
