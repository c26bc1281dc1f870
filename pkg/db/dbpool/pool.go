package dbpool

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options tune a pool.
type Options struct {
	Name     string // what pg_stat_activity shows
	MaxConns int32  // 0: pgxpool's default, or pool_max_conns of the URL
	// Lists makes the pool one for Store.WithReadPool: a statement is ended after
	// StatementTimeout, ListTimeout if that is 0, and the planner keeps to
	// indexes that are in the order of the list. For few rows it would rather
	// sort, and how many there are it can be badly wrong about.
	Lists            bool
	StatementTimeout time.Duration // 0 for none
}

// ListTimeout is how long a list may take.
const ListTimeout = 3 * time.Second

// connectTimeout is how long one connection may take to be made, unless the URL
// has a connect_timeout of its own.
const connectTimeout = 5 * time.Second

// CheckURL returns what is wrong with a postgres:// URL, as the end of a
// sentence that begins with its name. It repeats no secret of it.
func CheckURL(url string) error {
	config, err := pgxpool.ParseConfig(url)
	if err == nil {
		return checkModes(url, config.ConnConfig)
	}
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) && errors.Unwrap(parse) != nil {
		return fmt.Errorf("must be a URL that the PostgreSQL driver takes: %w", errors.Unwrap(parse))
	}
	return errors.New("must be a URL that the PostgreSQL driver takes")
}

// checkModes refuses what the driver takes and the services can't work with.
func checkModes(address string, config *pgx.ConnConfig) error {
	switch config.DefaultQueryExecMode { //nolint:exhaustive // the others work
	case pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol:
		return errors.New("can't have default_query_exec_mode=exec or simple_protocol: ids could not be sent; leave it out, also behind a pooler")
	case pgx.QueryExecModeDescribeExec:
		return errors.New("can't have default_query_exec_mode=describe_exec: a pooler may divide its two round trips; leave it out")
	}
	for parameter, only := range map[string]string{"default_transaction_isolation": "read committed", "default_transaction_read_only": "off"} {
		if value, given := config.RuntimeParams[parameter]; given && value != only {
			return fmt.Errorf("can't have %s=%s: the services need %s; leave it out", parameter, value, only)
		}
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return nil //nolint:nilerr // a DSN; the driver has taken it
	}
	switch attrs := parsed.Query().Get("target_session_attrs"); attrs {
	case "standby", "read-only", "prefer-standby":
		return fmt.Errorf("can't have target_session_attrs=%s: the services write; leave it out, or give primary or read-write", attrs)
	}
	return nil
}

// Pool is a pool of connections to PostgreSQL. It is safe for concurrent use.
type Pool = pgxpool.Pool

// Open returns a pool for a postgres:// URL. It does not connect: a Postgres
// that is away shows at the first query. Its connections lead to a primary of a
// version that is new enough, directly or through a pooler.
func Open(ctx context.Context, url string, options Options) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read database URL: %w", err)
	}
	if err := checkModes(url, config.ConnConfig); err != nil {
		return nil, fmt.Errorf("database URL: it %w", err)
	}
	// Poolers know these two parameters. All others they refuse.
	params := config.ConnConfig.RuntimeParams
	params["application_name"] = options.Name
	params["timezone"] = "UTC"
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	if options.MaxConns > 0 {
		config.MaxConns = options.MaxConns
	}
	newSession(options, config.ConnConfig).prepare(config)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open database pool: %w", err)
	}
	return pool, nil
}

// Ping returns what asks whether Postgres answers and takes writes: behind an
// address there may be another server by now.
func Ping(pool *pgxpool.Pool) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		var recovering bool
		if err := conn.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&recovering); err != nil {
			return err
		}
		if recovering {
			return errors.Join(ErrInRecovery, conn.Conn().Close(ctx))
		}
		return nil
	}
}

// closeWait is how long Close waits.
const closeWait = 3 * time.Second

// Close closes a pool. Connections that a Postgres which stands still does not
// let go are left to the end of the process: waiting for them would take
// longer than a shutdown may.
func Close(pool *pgxpool.Pool) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		pool.Close() //nolint:forbidigo // here it is bounded
	}()
	select {
	case <-closed:
	case <-time.After(closeWait):
	}
}
