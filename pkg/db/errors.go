package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
)

// queryCanceled is the code of a statement that was ended by its timeout.
const queryCanceled = "57014"

// Codes of what keeps a migration from its work.
const (
	insufficientPrivilege = "42501"
	noSuchSchema          = "3F000"
)

// What the methods of Store return besides errors of the database itself.
var (
	// ErrNotFound means that there is no message under the id.
	ErrNotFound = errors.New("no such message")
	// ErrWrongState means that the message's state does not allow the move;
	// errors.As with *StateError tells the state.
	ErrWrongState = errors.New("state does not allow it")
	// ErrNotProvisioned means that there is no schedule yet: `dispatch
	// provision` makes it.
	ErrNotProvisioned = errors.New("schedule is not provisioned")
	// ErrInRecovery means that a server is a standby, or not yet a primary: it
	// answers questions, and takes no writes.
	ErrInRecovery = errors.New("the server is in recovery: it takes no writes")
	// ErrTooOld means that a server is older than OldestPostgres.
	ErrTooOld = fmt.Errorf("older than version %d, which is needed", OldestPostgres)
	// ErrStatementPooling means that a pooler allows no transactions.
	ErrStatementPooling = errors.New("the pooler pools statements: transactions are needed (pool_mode = transaction or session)")
	// ErrTooSlow means that Postgres did not finish a statement in the time
	// that the pool allows it.
	ErrTooSlow = errors.New("the statement takes too long")
)

// tooSlow makes ErrTooSlow of a statement timeout.
func tooSlow(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == queryCanceled {
		return ErrTooSlow
	}
	return err
}

// Unavailable reports whether err says that Postgres can't be reached or
// can't work now, so that the same call may succeed later; Reason says why. An
// error that Postgres has of the data itself is none, nor is one of ours.
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

// Interrupted reports whether err says that Postgres can't be reached or cut
// the call off, so that the same call may succeed a moment later: no schema
// and no right is missing.
func Interrupted(err error) bool {
	for _, verdict := range []error{nil, ErrNotFound, ErrWrongState, ErrTooSlow, migrate.ErrUnfinished} {
		if errors.Is(err, verdict) {
			return false
		}
	}
	if Final(err) {
		return false
	}
	for _, passing := range []error{migrate.ErrLocked, ErrInRecovery, errPathChanged} {
		if errors.Is(err, passing) {
			return true
		}
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
		return false
	}
	return disconnected(err)
}

// disconnected reports whether a connection broke, or there was none. What the
// driver says of a value that it can't send or read is another thing, and would
// be the same at the next try.
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

// Final reports whether err says that the services can't work with this server,
// or with what is in front of it, however long they wait.
func Final(err error) bool {
	return errors.Is(err, ErrTooOld) || errors.Is(err, ErrStatementPooling) || startupRefused(err)
}

// startupRefused reports whether a pooler does not take a parameter of the URL.
func startupRefused(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && strings.Contains(refused.Message, "startup parameter")
}

// preparedStatementLost is what Postgres answers when a pooler gives a session
// with other statements.
func preparedStatementLost(code string) bool { return code == "26000" || code == "42P05" }

// codeOf is the code of what Postgres answered; empty if it did not.
func codeOf(err error) string {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return ""
	}
	return refused.Code
}

// Reason says in a few words why a call came to nothing that was Unavailable. It
// names no host and no user, so it may be shown to callers.
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

// BadData reports whether err says that Postgres refuses the values
// themselves, so that the same call fails for ever.
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
