package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
)

func (d *doctor) postgres(ctx context.Context) {
	const check = "postgres"
	if d.env["DATABASE_URL"] == "" && d.env["DB_HOST"] == "" {
		d.embedded()
		return
	}
	pool, err := connect.Postgres(ctx, d.cfg.Provision.Postgres.URL())
	if err != nil {
		d.away(check, err, postgresRemedy(err))
		return
	}
	defer dbpool.Close(pool)
	ctx, cancel := context.WithTimeout(ctx, connect.Patience)
	defer cancel()

	var version int
	var now time.Time
	sent := time.Now()
	var encoding string
	err = pool.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), clock_timestamp()`).
		Scan(&version, &encoding, &now)
	answered := time.Now()
	if err != nil {
		d.trouble(check, err)
		return
	}
	if encoding != "UTF8" {
		d.wrong(check, "the database's encoding is "+encoding+": it can't store every message", "create a database with ENCODING 'UTF8' TEMPLATE template0, and name it in DATABASE_URL")
	}
	d.good(check, fmt.Sprintf("reachable, version %d.%d", version/10_000, version%10_000))
	d.clock(check, now, sent, answered)
	d.permissions(ctx, pool)
	d.schema(ctx, pool)
}

// postgresRemedy says what to do about a connection that failed.
func postgresRemedy(err error) string {
	switch {
	case errors.Is(err, dbpool.ErrTooOld):
		return fmt.Sprintf("upgrade it to version %d or later", dbpool.OldestPostgres)
	case errors.Is(err, dbpool.ErrInRecovery):
		return "name the primary in DATABASE_URL, or all hosts (host1,host2): the primary among them is used"
	case errors.Is(err, dbpool.ErrStatementPooling):
		return "set pool_mode = transaction or session in PgBouncer, or connect directly to Postgres in DATABASE_URL"
	case dbpool.Final(err):
		return "leave the parameter out of DATABASE_URL and set it on the role (ALTER ROLE … SET …), or add it to ignore_startup_parameters of the pooler if it has no effect that is needed"
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		switch refused.Code {
		case "28P01":
			return "correct the user and the password in DATABASE_URL, or in DB_USER and DB_PASSWORD"
		case "28000":
			return "correct the user in DATABASE_URL or DB_USER, or let it in by pg_hba.conf"
		case "3D000":
			return "create it (createdb), or correct the name in DATABASE_URL or DB_NAME; then run: dispatch provision"
		case "42501":
			return "GRANT CONNECT ON DATABASE to this user"
		case "53300":
			return "raise max_connections, or find out who holds the connections (pg_stat_activity)"
		}
	}
	return "check that it runs, that this machine may connect, and that DATABASE_URL is right"
}

// trouble reports the error of a statement.
func (d *doctor) trouble(check string, err error) {
	if !connect.Denied(err) && dbpool.Unavailable(err) {
		d.away(check, err, "see the log of Postgres")
		return
	}
	d.wrong(check, err.Error(), "see the log of Postgres")
}

// permissions looks for missing privileges of the services and of provision.
func (d *doctor) permissions(ctx context.Context, pool *pgxpool.Pool) {
	const check = "postgres"
	var missing []string
	var named, mayCreate bool
	err := pool.QueryRow(ctx, `
		SELECT current_schema() IS NOT NULL, coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), array(
			SELECT p || ' on ' || relname
			FROM pg_class, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p
			WHERE relnamespace = to_regnamespace(current_schema())
			  AND (relname IN ('messages', 'message_filters', 'attempts', 'outbox', 'schedule', 'status_counts') OR relname = 'schema_migrations' AND p = 'SELECT')
			  AND NOT has_table_privilege(pg_class.oid, p)
			ORDER BY relname, p)`).Scan(&named, &mayCreate, &missing)
	switch {
	case err != nil:
		d.trouble(check, err)
	case !named:
		d.wrong(check, "this user may not use any schema of its search_path", "GRANT USAGE ON SCHEMA to it, or correct its search_path")
	case len(missing) > 0:
		d.wrong(check, "this user lacks "+strings.Join(missing, ", "), "GRANT it, or run the services as the user that owns the tables")
	case !mayCreate:
		d.skip(check, "this user may use the tables but not create any", `enough for the services; "dispatch provision" needs CREATE on the schema`)
	default:
		d.good(check, "this user has all privileges")
	}
}

func (d *doctor) schema(ctx context.Context, pool *pgxpool.Pool) {
	const check = "schema"
	const provision = "run: dispatch provision"
	err := migrate.Check(ctx, pool)
	switch {
	case errors.Is(err, migrate.ErrUnfinished):
		d.wrong(check, err.Error(), UnfinishedRemedy)
		return
	case errors.Is(err, migrate.ErrNotMigrated):
		d.wrong(check, err.Error(), provision)
		return
	case err != nil:
		d.trouble(check, err)
		return
	}
	known := migrate.LatestVersion()
	version, err := migrate.Version(ctx, pool)
	if err == nil {
		err = db.NewStore(pool).CheckSchedule(ctx)
	}
	switch {
	case errors.Is(err, db.ErrNotProvisioned):
		d.wrong(check, err.Error(), provision)
	case err != nil:
		d.trouble(check, err)
	case version > known:
		d.skip(check, fmt.Sprintf("at version %d, newer than this program, which knows %d", version, known), "upgrade this program: it works with the next release, but not with a later one")
	default:
		d.good(check, fmt.Sprintf("up to date, version %d", version))
	}
}
