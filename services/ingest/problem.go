package ingest

import (
	"errors"
	"net/http"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// What the use cases refuse for reasons of their own.
var (
	// errKeyReused is a known idempotency key with another body.
	errKeyReused = errors.New("the idempotency key was used for another message")
	// errOverloaded is a full queue.
	errOverloaded = errors.New("too many messages wait to be stored")
	// errBusy is a service that holds as many answers, or streams, as it may.
	errBusy = errors.New("too much is being answered")
	// errTimeout is a store that did not answer in time; the message may be
	// stored all the same.
	errTimeout = errors.New("not confirmed in time")
	// errNotReady is a service that still waits for its schema.
	errNotReady = errors.New("the service is starting")
)

// problemOf says what to answer to an error. An error that nobody has
// foreseen is internal, and tells nothing.
func problemOf(err error) *message.Problem {
	switch {
	case errors.Is(err, errKeyReused):
		return message.NewProblem(http.StatusConflict, message.ProblemKeyReused, "this idempotency key was used before, for another message")
	case errors.Is(err, errOverloaded):
		return message.NewRetryableProblem(http.StatusTooManyRequests, message.ProblemOverloaded, "too many messages wait to be stored", message.RetrySoon)
	case errors.Is(err, errBusy):
		return message.NewRetryableProblem(http.StatusTooManyRequests, message.ProblemOverloaded, "too much is being answered at the same time", message.RetrySoon)
	case errors.Is(err, errNotReady):
		return message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable, "the service is starting", message.RetrySoon)
	case errors.Is(err, errTimeout):
		return message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable,
			"the database did not confirm in time; the message may be stored all the same: repeat the request under an idempotency key", message.RetryLater)
	}
	return db.ProblemOf(err)
}

// placed is problemOf for one message among others, such as line 3: mistakes
// are those of the line, not of the whole body.
func placed(place string, err error) *message.Problem {
	p := problemOf(message.WithSubject(place, err))
	if p.Status == http.StatusUnprocessableEntity {
		p.Detail = place + ": " + p.Detail
	}
	return p
}

// invalidField is a request with one mistake.
func invalidField(field, code, text string) error {
	return &message.ValidationError{Errors: []message.FieldError{{Field: field, Code: code, Message: text}}}
}

// badParameters is a 400 that names every mistake of a query.
func badParameters(errs []message.FieldError) error {
	p := message.NewProblem(http.StatusBadRequest, message.ProblemInvalidParameters, (&message.ValidationError{Errors: errs}).Error())
	p.Errors = errs
	return p
}
