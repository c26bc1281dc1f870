package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options tune a pool.
type Options struct {
	Name     string // what pg_stat_activity shows
	MaxConns int32  // 0: pgxpool's default, or pool_max_conns of the URL
	// Lists makes the pool one for Store.WithReads: a statement is ended after
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

// idleInTransaction ends the transaction of a process that stopped in the
// middle of it, so that a frozen dispatcher holds no lock for long.
const idleInTransaction = 5 * time.Second

// CheckURL returns what the driver finds wrong with a postgres:// URL, as the
// end of a sentence that begins with its name. It repeats nothing of it.
func CheckURL(url string) error {
	_, err := pgxpool.ParseConfig(url)
	if err == nil {
		return nil
	}
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) && errors.Unwrap(parse) != nil {
		return fmt.Errorf("must be a URL that the PostgreSQL driver takes: %w", errors.Unwrap(parse))
	}
	return errors.New("must be a URL that the PostgreSQL driver takes")
}

// Open returns a pool for a postgres:// URL. It does not connect: a Postgres
// that is away shows at the first query.
func Open(ctx context.Context, url string, options Options) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read database URL: %w", err)
	}
	params := config.ConnConfig.RuntimeParams
	params["application_name"] = options.Name
	params["idle_in_transaction_session_timeout"] = fmt.Sprint(idleInTransaction.Milliseconds())
	params["timezone"] = "UTC"
	// Every statement has an index to go by. A plan made while a table was
	// small would read all of it, and is kept while it grows.
	params["enable_seqscan"] = "off"
	// PostgreSQL compiles what it expects to take long, by default, and a scan
	// that is off counts as very long: half a second a statement.
	params["jit"] = "off"
	if options.Lists {
		for _, detour := range []string{"enable_sort", "enable_bitmapscan"} {
			params[detour] = "off"
		}
		options.StatementTimeout = cmp.Or(options.StatementTimeout, ListTimeout)
	}
	if options.StatementTimeout > 0 {
		params["statement_timeout"] = fmt.Sprint(options.StatementTimeout.Milliseconds())
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	if options.MaxConns > 0 {
		config.MaxConns = options.MaxConns
	}
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		conn.TypeMap().RegisterType(utcTimestamps)
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open database pool: %w", err)
	}
	return pool, nil
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

// utcTimestamps reads every timestamptz in UTC, whatever the machine's zone.
var utcTimestamps = &pgtype.Type{
	Name:  "timestamptz",
	OID:   pgtype.TimestamptzOID,
	Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
}
