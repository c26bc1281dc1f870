package dbpool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// OldestPostgres is the oldest major version that the schema and the statements
// work with. Every new connection is checked.
const OldestPostgres = 14

// idleInTransaction ends the transaction of a process that stopped in the
// middle of it, so that a frozen dispatcher holds no lock for long.
const idleInTransaction = 5 * time.Second

// localSettings is where a connection through a pooler keeps the statement that
// makes the settings of a transaction.
const localSettings = "dispatch.local_settings"

// session prepares the connections of a pool. It is safe for concurrent use.
//
// A pooler gives the server behind a connection to others after each
// transaction, or may do so. Settings of the session would stay with whoever
// gets it next, and prepared statements would be missing there. So behind a
// pooler each transaction begins with the settings, and statements are
// described, but not prepared.
type session struct {
	settings [][2]string
	chosen   bool         // the URL says how statements are run
	path     atomic.Int32 // the pathTo Postgres, as the last connection found it
}

// pathTo is how a connection reaches Postgres.
type pathTo int32

const (
	pathUnknown pathTo = iota
	pathDirect
	pathPooler
)

func newSession(options Options, config *pgx.ConnConfig) *session {
	s := &session{settings: [][2]string{
		{"idle_in_transaction_session_timeout", milliseconds(idleInTransaction)},
		// Every statement has an index to go by. A plan made while a table was
		// small would read all of it, and is kept while it grows.
		{"enable_seqscan", "off"},
		// PostgreSQL compiles what it expects to take long, by default, and a scan
		// that is off counts as very long: half a second a statement.
		{"jit", "off"},
		// What a role or a database has set for other programs. Statements build
		// on seeing what was committed before them, locks are waited for as long
		// as the caller waits, and what somebody was told of is on the disk.
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"lock_timeout", "0"},
		{"statement_timeout", "0"},
		{"idle_session_timeout", "0"},
	}}
	// What the URL says itself is meant for these services.
	s.settings = slices.DeleteFunc(s.settings, func(setting [2]string) bool {
		_, given := config.RuntimeParams[setting[0]]
		return given
	})
	if options.Lists {
		s.settings = append(s.settings, [2]string{"enable_sort", "off"}, [2]string{"enable_bitmapscan", "off"})
		options.StatementTimeout = cmp.Or(options.StatementTimeout, ListTimeout)
	}
	if options.StatementTimeout > 0 {
		s.settings = append(s.settings, [2]string{"statement_timeout", milliseconds(options.StatementTimeout)})
	}
	s.chosen = strings.Contains(config.ConnString(), "default_query_exec_mode=")
	return s
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// statement makes the settings, for one transaction or for the session.
func (s *session) statement(local bool) string {
	calls := make([]string, 0, len(s.settings)+2)
	for _, setting := range s.settings {
		calls = append(calls, fmt.Sprintf("set_config('%s', '%s', %t)", setting[0], setting[1], local))
	}
	calls = append(calls,
		// A server that waits for standbys goes on doing so.
		fmt.Sprintf("set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), %t)", local),
		// Older servers have none.
		fmt.Sprintf("case when current_setting('transaction_timeout', true) <> '0' then set_config('transaction_timeout', '0', %t) end", local))
	return "select " + strings.Join(calls, ", ")
}

// prepare has every connection of a pool examined and set up.
func (s *session) prepare(config *pgxpool.Config) {
	asked := config.ConnConfig.ValidateConnect // what target_session_attrs says
	closes := config.ConnConfig.OnPgError
	config.ConnConfig.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		// A server that takes no writes is no primary any more. The next
		// connection looks for the one that is.
		return err.Code != readOnlyTransaction && closes(conn, err)
	}
	validate := func(ctx context.Context, conn *pgconn.PgConn) (pathTo, error) {
		path, err := s.examine(ctx, conn)
		if err != nil || asked == nil {
			return path, err
		}
		return path, asked(ctx, conn)
	}
	// The driver wants to know how to run statements before it connects.
	config.BeforeConnect = func(ctx context.Context, one *pgx.ConnConfig) error {
		var expected pathTo
		one.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
			path, err := validate(ctx, conn)
			s.path.Store(int32(path))
			if err == nil && !s.chosen && expected != pathUnknown && path != expected {
				return errPathChanged
			}
			return err
		}
		if s.chosen {
			return nil
		}
		var err error
		if expected, err = s.find(ctx, one); expected == pathPooler {
			one.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		}
		return err
	}
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		conn.TypeMap().RegisterType(utcTimestamps)
		return nil
	}
}

// find returns how connections reach Postgres. The first one looks.
func (s *session) find(ctx context.Context, config *pgx.ConnConfig) (pathTo, error) {
	if path := pathTo(s.path.Load()); path != pathUnknown {
		return path, nil
	}
	conn, err := pgconn.ConnectConfig(ctx, &config.Config)
	if err != nil {
		return pathUnknown, err
	}
	return pathTo(s.path.Load()), conn.Close(ctx)
}

// examine refuses a server that the services can't work with, so that the
// driver tries the next host, and makes the settings. It knows a pooler by the
// process id that it gave: it is not the server's.
func (s *session) examine(ctx context.Context, conn *pgconn.PgConn) (pathTo, error) {
	row, err := queryRow(ctx, conn, "select pg_backend_pid(), pg_is_in_recovery(), current_setting('server_version_num')::int / 10000")
	if err != nil {
		return pathUnknown, err
	}
	if major, err := strconv.Atoi(row[2]); err != nil || major < OldestPostgres {
		return pathUnknown, fmt.Errorf("PostgreSQL %s: %w", row[2], ErrTooOld)
	}
	if row[1] == "t" {
		return pathUnknown, ErrInRecovery
	}
	if row[0] == strconv.FormatUint(uint64(conn.PID()), 10) {
		_, err := queryRow(ctx, conn, s.statement(false))
		return pathDirect, err
	}
	conn.CustomData()[localSettings] = s.statement(true)
	return pathPooler, allowsTransactions(ctx, conn)
}

// allowsTransactions returns ErrStatementPooling if a pooler takes the server
// away after each statement.
func allowsTransactions(ctx context.Context, conn *pgconn.PgConn) error {
	_, err := queryRow(ctx, conn, "begin")
	if err == nil {
		_, err = queryRow(ctx, conn, "rollback")
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) && strings.Contains(refused.Message, "statement pooling") {
		return fmt.Errorf("%w: %w", ErrStatementPooling, err)
	}
	return err
}

// queryRow runs a statement and returns its row as text.
func queryRow(ctx context.Context, conn *pgconn.PgConn, sql string) ([]string, error) {
	result := conn.ExecParams(ctx, sql, nil, nil, nil, nil).Read()
	if result.Err != nil || len(result.Rows) == 0 {
		return nil, result.Err
	}
	row := make([]string, len(result.Rows[0]))
	for i, column := range result.Rows[0] {
		row[i] = string(column)
	}
	return row, nil
}

// settingsOf is the statement that begins each transaction of a connection;
// empty if the session has the settings.
func settingsOf(conn *pgx.Conn) string {
	statement, _ := conn.PgConn().CustomData()[localSettings].(string)
	return statement
}

// utcTimestamps reads every timestamptz in UTC, whatever the machine's zone.
var utcTimestamps = &pgtype.Type{
	Name:  "timestamptz",
	OID:   pgtype.TimestamptzOID,
	Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
}
