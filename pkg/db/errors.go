package db

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
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

// ProblemOf returns the problem that describes an error of a request: one of
// the database, or one that message.ProblemOf knows.
func ProblemOf(err error) *message.Problem {
	var problem *message.Problem
	var state *StateError
	switch {
	case errors.As(err, &problem):
		return message.ProblemOf(err)
	case errors.Is(err, ErrNotFound):
		return message.NewProblem(http.StatusNotFound, message.ProblemNotFound, "there is no such message")
	case errors.Is(err, ErrTooSlow):
		return message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemQueryTooSlow,
			"the database did not find it in time: narrow the request by a time range, or by one filter that fits little", message.RetryLater)
	case errors.As(err, &state):
		return message.NewProblem(http.StatusConflict, message.ProblemWrongState, stateDetail(state))
	case errors.Is(err, ErrNotProvisioned), errors.Is(err, migrate.ErrNotMigrated):
		return message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable, "the installation is not provisioned", message.RetryLater)
	case dbpool.Unavailable(err):
		return message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable, dbpool.Reason(err), message.RetryLater)
	}
	return message.ProblemOf(err)
}

func stateDetail(e *StateError) string {
	if e.Transition.Allows(e.Status) { // only a parked message is refused in a state that allows it
		return "a message that is RETRYING can be cancelled only while its next attempt is 5 s or more away"
	}
	verb := e.Transition.Name
	if verb == message.Redrive.Name {
		verb = "retry" // the word of the route and the command
	}
	return "can't " + verb + " a message that is " + string(e.Status)
}
