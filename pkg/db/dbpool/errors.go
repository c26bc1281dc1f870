// Package dbpool opens pools of Postgres connections: it checks servers and
// poolers, sets up sessions, and runs transactions in few round trips. It also
// says which errors pass by themselves.
package dbpool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
)

// SQLSTATE codes.
const (
	insufficientPrivilege = "42501"
	noSuchSchema          = "3F000"
	lockNotAvailable      = "55P03" // only migrations bound the wait for a lock
	readOnlyTransaction   = "25006" // a write on a server that takes none
)

var (
	// ErrInRecovery means that the server is a standby, or not yet a primary:
	// it takes no writes.
	ErrInRecovery = errors.New("the server is in recovery: it takes no writes")
	// ErrTooOld means that the server is older than OldestPostgres.
	ErrTooOld = fmt.Errorf("older than version %d, which is needed", OldestPostgres)
	// ErrStatementPooling means that a pooler allows no transactions.
	ErrStatementPooling = errors.New("the pooler pools statements: transactions are needed (pool_mode = transaction or session)")

	// errPathChanged means that a pooler was inserted or removed since the last
	// connection. The next connection uses the new path.
	errPathChanged = errors.New("the way to Postgres has changed")
	// errRolledBack means that Postgres answered a COMMIT with a ROLLBACK,
	// because a statement had failed and its error was ignored.
	errRolledBack = errors.New("the transaction was rolled back")
)

// Unavailable reports whether Postgres cannot be reached or cannot work now, so
// that the same call may succeed later. Reason says why. Errors about the data
// itself, and errors of Store, are not among these.
func Unavailable(err error) bool {
	if Interrupted(err) || Final(err) {
		return true
	}
	switch code := codeOf(err); code {
	case "42P01", "42703", "42883", "42704", // no such table, column, function or type: the schema is not there, or another's
		noSuchSchema,
		insufficientPrivilege: // a right that was withdrawn
		return true
	default:
		return preparedStatementLost(code)
	}
}

// Interrupted reports whether Postgres cannot be reached or ended the call, so
// that the same call may succeed a moment later. A missing schema or right is
// not an interruption.
func Interrupted(err error) bool {
	if err == nil || Final(err) {
		return false
	}
	if errors.Is(err, ErrInRecovery) || errors.Is(err, errPathChanged) {
		return true
	}
	if code := codeOf(err); code != "" && !errors.As(err, new(*pgconn.ConnectError)) {
		switch code[:2] {
		case "08", // connection exception
			"25", // invalid transaction state: ended by its timeout; a server that takes no writes
			"40", // deadlock, serialization
			"53", // insufficient resources: disk full, too many connections
			"57", // operator intervention: shutdown, cannot connect now
			"58": // system error, outside Postgres
			return true
		}
		return code == lockNotAvailable
	}
	return disconnected(err)
}

// disconnected reports whether a connection broke, or none was made. It is false
// for a value that the driver cannot send or read, which fails again each time.
func disconnected(err error) bool {
	if errors.As(err, new(*pgconn.ConnectError)) || errors.As(err, new(net.Error)) || pgconn.SafeToRetry(err) {
		return true
	}
	for _, end := range []error{
		context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, pgconn.ErrConnClosed, puddle.ErrClosedPool,
	} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// Final reports whether the services can never work with this server, or with
// the pooler in front of it.
func Final(err error) bool {
	return errors.Is(err, ErrTooOld) || errors.Is(err, ErrStatementPooling) || startupRefused(err)
}

// startupRefused reports whether a pooler rejects a parameter of the URL.
func startupRefused(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && strings.Contains(refused.Message, "startup parameter")
}

// preparedStatementLost reports whether a pooler switched to a session with other
// prepared statements.
func preparedStatementLost(code string) bool { return code == "26000" || code == "42P05" }

// codeOf returns the SQLSTATE of an error from Postgres; empty for other errors.
func codeOf(err error) string {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return ""
	}
	return refused.Code
}

// Reason says briefly why Postgres is Unavailable. It names no host and no user,
// so it may be shown to callers.
func Reason(err error) string {
	switch {
	case errors.Is(err, ErrInRecovery):
		return "the database is in recovery: it takes no writes"
	case errors.Is(err, ErrTooOld):
		return fmt.Sprintf("the database is older than PostgreSQL %d", OldestPostgres)
	case errors.Is(err, ErrStatementPooling):
		return "the pooler in front of the database pools statements: transactions are needed"
	case startupRefused(err):
		return "the pooler in front of the database refuses a parameter of its URL"
	}
	code := codeOf(err)
	switch code {
	case readOnlyTransaction:
		return "the database takes no writes"
	case "42P01", "42703", "42883", "42704", noSuchSchema:
		return "the database lacks a table, or its search_path leads elsewhere: run dispatch provision"
	case insufficientPrivilege:
		return "the database denies a right"
	case "3D000":
		return "there is no such database"
	case "28000", "28P01":
		return "the database refuses the user or the password"
	}
	if preparedStatementLost(code) {
		return "the pooler in front of the database keeps no prepared statements: leave default_query_exec_mode out of its URL"
	}
	return "the database is not available"
}

// BadData reports whether Postgres rejects the values themselves, so that the
// same call always fails.
func BadData(err error) bool {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code[:2] {
	case "22", // data exception
		"23": // a constraint
		return true
	}
	return false
}
