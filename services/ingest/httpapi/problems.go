package httpapi

import (
	"fmt"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

var (
	// errBusy is a service that holds as many answers, or streams, as it may.
	errBusy error = message.NewRetryableProblem(http.StatusTooManyRequests, message.ProblemOverloaded, "too much is being answered at the same time", message.RetrySoon)
	// errNotReady is a service that still waits for its schema.
	errNotReady error = message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable, "the service is starting", message.RetrySoon)
)

// placed is the problem of one message among others, such as line 3: mistakes
// are those of the line, not of the whole body.
func placed(place string, err error) *message.Problem {
	p := db.ProblemOf(message.WithSubject(place, err))
	if p.Status == http.StatusUnprocessableEntity {
		p.Detail = place + ": " + p.Detail
	}
	return p
}

// problemOfFiber words the errors of routing and reading.
func problemOfFiber(err *fiber.Error) *message.Problem {
	switch err.Code {
	case http.StatusNotFound:
		return message.NewProblem(err.Code, message.ProblemNotFound, "there is nothing at this path; /docs shows what there is")
	case http.StatusMethodNotAllowed:
		return message.NewProblem(err.Code, message.ProblemMethodNotAllowed, "this path takes other methods")
	case http.StatusRequestEntityTooLarge:
		return errTooLarge()
	case http.StatusRequestTimeout:
		return message.NewProblem(err.Code, message.ProblemRequestTimeout, "the request did not arrive in time")
	case http.StatusRequestHeaderFieldsTooLarge:
		return message.NewProblem(err.Code, message.ProblemHeadersTooLarge, fmt.Sprintf("the headers must not be more than %d bytes", maxHeaders))
	}
	return message.NewProblem(http.StatusBadRequest, message.ProblemMalformed, "the request is not HTTP as it should be")
}

func errTooLarge() *message.Problem {
	return message.NewProblem(http.StatusRequestEntityTooLarge, message.ProblemTooLarge, fmt.Sprintf("the body must not be more than %d bytes", maxBody))
}
