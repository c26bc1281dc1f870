package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// The codes of problems: stable words for programs.
const (
	codeMalformed          = "malformed"
	codeInvalid            = "invalid"
	codeInvalidParameters  = "invalid_parameters"
	codeUnauthorized       = "unauthorized"
	codeHostNotAllowed     = "host_not_allowed"
	codeNotFound           = "not_found"
	codeMethodNotAllowed   = "method_not_allowed"
	codeKeyReused          = "idempotency_key_reused"
	codeWrongState         = "wrong_state"
	codeTooLarge           = "too_large"
	codeUnsupportedMedia   = "unsupported_media_type"
	codeOverloaded         = "overloaded"
	codeUnavailable        = "unavailable"
	codeQueryTooSlow       = "query_too_slow"
	codeControlUnavailable = "control_unavailable"
	codeRequestTimeout     = "request_timeout"
	codeHeadersTooLarge    = "headers_too_large"
	codeInternal           = "internal"
)

// retrySoon and retryLater are what Retry-After says, in seconds: of a full
// queue, and of a dependency that is away.
const (
	retrySoon  = 1
	retryLater = 5
)

// problem is an RFC 9457 document, and the error of a request that was not
// done. It tells no more than the caller may know.
type problem struct {
	Type      string               `json:"type"`
	Title     string               `json:"title"`
	Status    int                  `json:"status"`
	Detail    string               `json:"detail,omitempty"`
	Code      string               `json:"code"`
	RequestID string               `json:"requestId,omitempty"`
	Errors    []message.FieldError `json:"errors,omitempty"`
	Retried   *int64               `json:"retried,omitempty"` // of a bulk retry that broke off

	retryAfter int // seconds; 0 for none
}

func newProblem(status int, code, detail string) *problem {
	return &problem{
		Type:   "urn:message-dispatcher:problem:" + code,
		Title:  http.StatusText(status),
		Status: status,
		Detail: detail,
		Code:   code,
	}
}

// Error is the detail.
func (p *problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Detail
}

// json writes the document.
func (p *problem) json() []byte { return encode(p) }

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
func problemOf(err error) *problem {
	var known *problem
	var malformed *message.Malformed
	var invalid *message.Invalid
	var state *db.StateError
	switch {
	case errors.As(err, &known):
		copied := *known // the caller puts its request's id in
		return &copied
	case errors.As(err, &malformed):
		return newProblem(http.StatusBadRequest, codeMalformed, malformed.Error())
	case errors.As(err, &invalid):
		p := newProblem(http.StatusUnprocessableEntity, codeInvalid, invalid.Error())
		p.Errors = invalid.Errors
		return p
	case errors.Is(err, errKeyReused):
		return newProblem(http.StatusConflict, codeKeyReused, "this idempotency key was used before, for another message")
	case errors.Is(err, db.ErrNotFound):
		return newProblem(http.StatusNotFound, codeNotFound, "there is no such message")
	case errors.Is(err, db.ErrTooSlow):
		return later(http.StatusServiceUnavailable, codeQueryTooSlow,
			"the database did not find it in time: narrow the request by a time range, or by one filter that fits little", retryLater)
	case errors.As(err, &state):
		return newProblem(http.StatusConflict, codeWrongState, stateDetail(state))
	case errors.Is(err, errOverloaded):
		return later(http.StatusTooManyRequests, codeOverloaded, "too many messages wait to be stored", retrySoon)
	case errors.Is(err, errBusy):
		return later(http.StatusTooManyRequests, codeOverloaded, "too much is being answered at the same time", retrySoon)
	case errors.Is(err, errNotReady):
		return later(http.StatusServiceUnavailable, codeUnavailable, "the service is starting", retrySoon)
	case errors.Is(err, errTimeout):
		return later(http.StatusServiceUnavailable, codeUnavailable,
			"the database did not confirm in time; the message may be stored all the same: repeat the request under an idempotency key", retryLater)
	case errors.Is(err, db.ErrNotProvisioned), errors.Is(err, db.ErrNotMigrated):
		return later(http.StatusServiceUnavailable, codeUnavailable, "the installation is not provisioned", retryLater)
	case db.Unavailable(err):
		return later(http.StatusServiceUnavailable, codeUnavailable, db.Reason(err), retryLater)
	}
	return newProblem(http.StatusInternalServerError, codeInternal, "an unexpected error; its cause is in the service's log")
}

// placed is problemOf for one message among others, such as line 3: mistakes
// are those of the line, not of the whole body.
func placed(place string, err error) *problem {
	p := problemOf(message.Named(place, err))
	if p.Status == http.StatusUnprocessableEntity {
		p.Detail = place + ": " + p.Detail
	}
	return p
}

func later(status int, code, detail string, seconds int) *problem {
	p := newProblem(status, code, detail)
	p.retryAfter = seconds
	return p
}

func stateDetail(e *db.StateError) string {
	if e.Move.Allows(e.Status) { // only a parked message is refused in a state that allows it
		return "a message that is RETRYING can be cancelled only while its next attempt is 5 s or more away"
	}
	return "can't " + e.Move.Name + " a message that is " + string(e.Status)
}

// invalidField is a request with one mistake.
func invalidField(field, code, text string) error {
	return &message.Invalid{Errors: []message.FieldError{{Field: field, Code: code, Message: text}}}
}

// badParameters is a 400 that names every mistake of a query.
func badParameters(errs []message.FieldError) error {
	p := newProblem(http.StatusBadRequest, codeInvalidParameters, (&message.Invalid{Errors: errs}).Error())
	p.Errors = errs
	return p
}

func (p *problem) retryAfterText() string { return strconv.Itoa(p.retryAfter) }

// encode writes JSON as people write it: '<' stays '<'.
func encode(v any) []byte {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic("ingest: an answer is valid JSON: " + err.Error())
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
