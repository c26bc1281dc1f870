package dispatcher

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// errUnpublished is a stop that could not yet publish what was claimed before.
var errUnpublished = errors.New("a claim made before the stop is not yet published")

// The codes of problems: stable words for programs.
const (
	codeMalformed        = "malformed"
	codeInvalid          = "invalid"
	codeClaimUnpublished = "claim_unpublished"
	codeUnavailable      = "unavailable"
	codeInternal         = "internal"
)

// problem is an RFC 9457 document: the body of a refusal.
type problem struct {
	Type      string               `json:"type"`
	Title     string               `json:"title"`
	Status    int                  `json:"status"`
	Detail    string               `json:"detail"`
	Code      string               `json:"code"`
	RequestID string               `json:"requestId"`
	Errors    []message.FieldError `json:"errors,omitempty"`
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

// problemOf says what to answer to an error. foreseen is false for an error
// that belongs into the log, since the answer tells nothing of it.
func problemOf(err error) (p *problem, foreseen bool) {
	var malformed *message.Malformed
	var invalid *message.Invalid
	switch {
	case errors.As(err, &malformed):
		return newProblem(http.StatusBadRequest, codeMalformed, message.Named("the request", malformed).Error()), true
	case errors.As(err, &invalid):
		p := newProblem(http.StatusUnprocessableEntity, codeInvalid, invalid.Error())
		p.Errors = invalid.Errors
		return p, true
	case errors.Is(err, errUnpublished):
		return newProblem(http.StatusServiceUnavailable, codeClaimUnpublished,
			"it is stopped, but "+errUnpublished.Error()+"; it will be as soon as NATS allows, and a repeated stop tells when"), true
	case errors.Is(err, db.ErrNotProvisioned), errors.Is(err, db.ErrNotMigrated):
		return newProblem(http.StatusServiceUnavailable, codeUnavailable, "the installation is not provisioned"), true
	case db.Unavailable(err):
		return newProblem(http.StatusServiceUnavailable, codeUnavailable, db.Reason(err)), true
	}
	return newProblem(http.StatusInternalServerError, codeInternal, "an unexpected error; its cause is in the service's log"), false
}

// refusal is the problem as a micro service answers it.
func (p *problem) refusal() *events.ServiceError {
	body, err := json.Marshal(p)
	if err != nil {
		panic("dispatcher: a problem is valid JSON: " + err.Error())
	}
	return &events.ServiceError{Code: strconv.Itoa(p.Status), Description: p.Detail, Body: body}
}
