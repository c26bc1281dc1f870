package db

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// queryCanceled is the code of a statement that was ended by its timeout.
const queryCanceled = "57014"

// Codes of what keeps a migration from its work.
const (
	lockNotAvailable      = "55P03"
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
	// ErrNotMigrated means that the schema is missing or older than this
	// program: `dispatch provision` brings it up to date.
	ErrNotMigrated = errors.New("schema is not up to date")
	// ErrUnfinished means that a step of the schema was begun and broke off: a
	// person has to put it right before the next.
	ErrUnfinished = errors.New("a migration was not finished")
	// ErrLocked means that another session holds a lock that a step of the
	// schema needs. Later the same step may succeed.
	ErrLocked = errors.New("another session holds a lock that this needs (see pg_locks)")
	// ErrMayNotMigrate means that the role lacks a right that a step of the
	// schema needs.
	ErrMayNotMigrate = errors.New("a right is missing")
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
// can't work now, so that the same call may succeed later. An error that
// Postgres has of the data itself is none.
func Unavailable(err error) bool {
	if Interrupted(err) {
		return true
	}
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code {
	case "42P01", "42703", "42883", // no such table, column or function: the schema is not there, or another's
		noSuchSchema,
		insufficientPrivilege: // a right that was withdrawn
		return true
	}
	return false
}

// Interrupted reports whether err says that Postgres can't be reached or cut
// the call off, so that the same call may succeed a moment later: no schema
// and no right is missing.
func Interrupted(err error) bool {
	for _, verdict := range []error{nil, ErrNotFound, ErrWrongState, ErrTooSlow, ErrUnfinished} {
		if errors.Is(err, verdict) {
			return false
		}
	}
	if errors.Is(err, ErrLocked) {
		return true
	}
	var refused *pgconn.PgError
	var connect *pgconn.ConnectError
	if !errors.As(err, &refused) || errors.As(err, &connect) {
		return true // the connection broke, or there was none
	}
	switch refused.Code[:2] {
	case "08", // connection exception
		"25", // invalid transaction state: ended by its timeout
		"40", // deadlock, serialization
		"53", // insufficient resources: disk full, too many connections
		"57", // operator intervention: shutdown, cannot connect now
		"58": // system error, outside Postgres
		return true
	}
	return false
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
