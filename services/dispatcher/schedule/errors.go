package schedule

import (
	"errors"
	"net/http"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// errUnpublished means that a stop could not yet publish an earlier claim.
var errUnpublished = errors.New("a claim made before the stop is not yet published")

// problemOf returns the problem that describes an error of a control request.
func problemOf(err error) *message.Problem {
	if errors.Is(err, errUnpublished) {
		return message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemClaimUnpublished,
			"it is stopped, but "+errUnpublished.Error()+"; it will be as soon as NATS allows, and a repeated stop tells when", message.RetryLater)
	}
	return db.ProblemOf(message.WithSubject("the request", err))
}
