package db

import (
	"errors"
	"net/http"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

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
