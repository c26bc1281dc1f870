package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/accept"
)

var (
	// errBusy means that clients have not yet read too many responses, or that
	// there are too many streams.
	errBusy error = message.NewRetryableProblem(http.StatusTooManyRequests, message.ProblemOverloaded, "too much is being answered at the same time", message.RetrySoon)
	// errNotReady means that the service waits for its schema.
	errNotReady error = message.NewRetryableProblem(http.StatusServiceUnavailable, message.ProblemUnavailable, "the service is starting", message.RetrySoon)
	errTooLarge error = message.NewProblem(http.StatusRequestEntityTooLarge, message.ProblemTooLarge, fmt.Sprintf("the body must not be more than %d bytes", maxBody))
	// errBodyNotAllowed is the error of a request that takes no body.
	errBodyNotAllowed error = &message.MalformedError{Subject: "this request", Reason: "takes no body"}
	// errNotGzip means that a body is not what its Content-Encoding says.
	errNotGzip error = &message.MalformedError{Reason: "is not gzip, as Content-Encoding says, or it ended early"}
)

// respondProblem responds with the problem that describes an error. It always
// returns nil.
func (a *API) respondProblem(c *fiber.Ctx, err error) error {
	var routing *fiber.Error
	var p *message.Problem
	if errors.As(err, &routing) {
		p = problemOfFiber(routing)
		if p.Status == http.StatusMethodNotAllowed {
			p.Detail = "this path takes " + c.GetRespHeader(fiber.HeaderAllow)
		}
	} else {
		p = db.ProblemOf(err)
		a.logProblem(originOf(c), p, err)
	}
	p.RequestID = requestID(c)
	if p.RetryAfter > 0 {
		c.Set(fiber.HeaderRetryAfter, p.RetryAfterSeconds())
	}
	c.Set(fiber.HeaderContentType, message.MediaTypeProblem)
	return c.Status(p.Status).Send(p.JSON())
}

// problemAt returns the problem of one message among others, at a place such as
// "line 3". Its errors are about that message, not about the whole body.
func problemAt(place string, err error) *message.Problem {
	p := db.ProblemOf(message.WithSubject(place, err))
	if p.Status == http.StatusUnprocessableEntity {
		p.Detail = place + ": " + p.Detail
	}
	return p
}

// problemOfFiber returns the problem for an error of routing or reading.
func problemOfFiber(err *fiber.Error) *message.Problem {
	switch err.Code {
	case http.StatusNotFound:
		return message.NewProblem(err.Code, message.ProblemNotFound, "there is nothing at this path; /docs shows what there is")
	case http.StatusMethodNotAllowed:
		return message.NewProblem(err.Code, message.ProblemMethodNotAllowed, "this path takes other methods")
	case http.StatusRequestEntityTooLarge:
		return message.ProblemOf(errTooLarge)
	case http.StatusRequestTimeout:
		return message.NewProblem(err.Code, message.ProblemRequestTimeout, "the request did not arrive in time")
	case http.StatusRequestHeaderFieldsTooLarge:
		return message.NewProblem(err.Code, message.ProblemHeadersTooLarge, fmt.Sprintf("the headers must not be more than %d bytes", maxHeaders))
	}
	return message.NewProblem(http.StatusBadRequest, message.ProblemMalformed, "the request is not HTTP as it should be")
}

// origin says which request a log line is about.
type origin struct{ requestID, method, route string }

func originOf(c *fiber.Ctx) origin { return origin{requestID(c), c.Method(), routeOf(c)} }

// logProblem logs server errors. The response does not contain their cause.
func (a *API) logProblem(o origin, p *message.Problem, err error) {
	if p.Status < http.StatusInternalServerError || isLoggedElsewhere(err) {
		return
	}
	fields := []zap.Field{
		zap.String("requestId", o.requestID), zap.String("method", o.method), zap.String("route", o.route), zap.Error(err),
	}
	if p.Code == message.ProblemInternal {
		a.log.Error("request failed", fields...)
		return
	}
	if a.logLimit.allow() { // one line for an outage, not one for each request
		a.log.Warn("requests can't be served", fields...)
	}
}

// isLoggedElsewhere reports whether the component that made a problem has
// logged its cause.
func isLoggedElsewhere(err error) bool {
	isProblem := errors.As(err, new(*message.Problem))
	return isProblem && !errors.Is(err, accept.ErrTimeout) && !errors.Is(err, errNotReady)
}

// logInterval is the time between two log lines about requests that can't be
// served.
const logInterval = 10 * time.Second

// logLimit limits the log lines during an outage. The zero value is ready. It is
// safe for concurrent use.
type logLimit struct {
	mu   sync.Mutex
	last time.Time
}

func (l *logLimit) allow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() && time.Since(l.last) < logInterval {
		return false
	}
	l.last = time.Now()
	return true
}
