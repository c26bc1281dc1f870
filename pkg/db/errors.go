package db

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// queryCanceled is the SQLSTATE of a statement that its timeout ended.
const queryCanceled = "57014"

// The errors of Store, apart from errors of the database itself.
var (
	// ErrNotFound means that there is no message with the id.
	ErrNotFound = errors.New("no such message")
	// ErrWrongState means that the message's state does not allow the
	// transition. It is a *StateError, which has the state.
	ErrWrongState = errors.New("state does not allow it")
	// ErrNotProvisioned means that there is no schedule yet: `dispatch
	// provision` creates it.
	ErrNotProvisioned = errors.New("schedule is not provisioned")
	// ErrTooSlow means that a statement took longer than its pool allows.
	ErrTooSlow = errors.New("the statement takes too long")
	// ErrCommitsLost means that Postgres may have lost commits, and that no
	// dispatcher has restored them yet from what other systems know.
	ErrCommitsLost = errors.New("Postgres may have lost commits, and they are not yet brought back")
)

// errFastPathClosed means that the schedule does not allow the fast path.
var errFastPathClosed = errors.New("the schedule does not allow the fast path")

// StateError is an ErrWrongState with the state that does not allow the
// transition.
type StateError struct {
	Transition message.Transition
	Status     message.Status
}

// Error names the transition and the state.
func (e *StateError) Error() string {
	return fmt.Sprintf("can't %s a message that is %s", e.Transition.Name, e.Status)
}

// Unwrap makes errors.Is(err, ErrWrongState) true.
func (e *StateError) Unwrap() error { return ErrWrongState }

// tooSlow returns ErrTooSlow for a statement timeout, and other errors unchanged.
func tooSlow(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == queryCanceled {
		return ErrTooSlow
	}
	return err
}
