package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// The codes of a Problem: stable words for programs.
const (
	ProblemMalformed          = "malformed"
	ProblemInvalid            = "invalid"
	ProblemInvalidParameters  = "invalid_parameters"
	ProblemUnauthorized       = "unauthorized"
	ProblemHostNotAllowed     = "host_not_allowed"
	ProblemNotFound           = "not_found"
	ProblemMethodNotAllowed   = "method_not_allowed"
	ProblemKeyReused          = "idempotency_key_reused"
	ProblemWrongState         = "wrong_state"
	ProblemTooLarge           = "too_large"
	ProblemUnsupportedMedia   = "unsupported_media_type"
	ProblemOverloaded         = "overloaded"
	ProblemUnavailable        = "unavailable"
	ProblemQueryTooSlow       = "query_too_slow"
	ProblemControlUnavailable = "control_unavailable"
	ProblemClaimUnpublished   = "claim_unpublished"
	ProblemRequestTimeout     = "request_timeout"
	ProblemHeadersTooLarge    = "headers_too_large"
	ProblemInternal           = "internal"
)

// MediaTypeProblem is the media type of a Problem.
const MediaTypeProblem = "application/problem+json"

// Retry-After of a Problem that passes: a full queue, or a dependency that is
// down.
const (
	RetrySoon  = time.Second
	RetryLater = 5 * time.Second
)

// Problem is an RFC 9457 document: the body of an error response over HTTP and
// NATS, and the error itself. It says no more than the caller may know.
type Problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"` // of HTTP
	Detail    string       `json:"detail,omitempty"`
	Code      string       `json:"code"` // one of the Problem constants
	RequestID string       `json:"requestId,omitempty"`
	Errors    []FieldError `json:"errors,omitempty"`
	Retried   *int64       `json:"retried,omitempty"` // messages that a bulk redrive has changed before it failed

	RetryAfter time.Duration `json:"-"` // 0: the same request will fail again
}

// NewProblem returns a problem with an HTTP status, a Problem code and a
// sentence for people.
func NewProblem(status int, code, detail string) *Problem {
	return &Problem{
		Type:   "urn:message-dispatcher:problem:" + code,
		Title:  http.StatusText(status),
		Status: status,
		Detail: detail,
		Code:   code,
	}
}

// NewRetryableProblem returns a problem that may be gone after a while, which
// is whole seconds.
func NewRetryableProblem(status int, code, detail string, after time.Duration) *Problem {
	p := NewProblem(status, code, detail)
	p.RetryAfter = after
	return p
}

// ProblemOf returns the problem that describes an error, as a copy that the
// caller may change. The error is a *Problem, a *Malformed or an *Invalid. Any
// other is unexpected: its problem is internal and says nothing about it.
func ProblemOf(err error) *Problem {
	var problem *Problem
	var malformed *MalformedError
	var invalid *ValidationError
	switch {
	case errors.As(err, &problem):
		copied := *problem
		return &copied
	case errors.As(err, &malformed):
		return NewProblem(http.StatusBadRequest, ProblemMalformed, malformed.Error())
	case errors.As(err, &invalid):
		p := NewProblem(http.StatusUnprocessableEntity, ProblemInvalid, invalid.Error())
		p.Errors = invalid.Errors
		return p
	}
	return NewProblem(http.StatusInternalServerError, ProblemInternal, "an unexpected error; its cause is in the service's log")
}

// ReadProblem reads the problem of an error response with an HTTP status. It
// makes one of a body that is none.
func ReadProblem(status int, description string, body []byte) *Problem {
	if status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	p := new(Problem)
	if json.Unmarshal(body, p) != nil || p.Code == "" {
		p = NewProblem(status, ProblemInternal, description)
	}
	p.Status = status
	return p
}

// Error returns the detail.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Detail
}

// JSON returns the document.
func (p *Problem) JSON() []byte { return EncodeJSON(p) }

// RetryAfterSeconds returns the value of the header Retry-After.
func (p *Problem) RetryAfterSeconds() string {
	return strconv.Itoa(int(p.RetryAfter / time.Second))
}

// EncodeJSON returns a value as JSON, without escapes for HTML. It panics if
// the value can't be written as JSON.
func EncodeJSON(v any) []byte {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic("message: encode JSON: " + err.Error())
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
