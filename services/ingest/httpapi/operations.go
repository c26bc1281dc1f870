package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/services/ingest/messages"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

const (
	redriveTimeout = 10 * time.Second // after it, a bulk redrive begins no further batch
	eraseTimeout   = 20 * time.Second
)

func (a *API) redriveMany(c *fiber.Ctx) error {
	body, err := a.jsonBody(c, true)
	if err != nil {
		return err
	}
	redrive, err := request.ParseBulkRedrive(body)
	if err != nil {
		return err
	}
	result, err := a.messages.RedriveMany(context.Background(), redrive, a.now().Add(redriveTimeout))
	if err != nil {
		return a.partialRedrive(c, result, err)
	}
	return Respond(c, result)
}

// partialRedrive returns the problem of a bulk redrive that failed after some
// batches. The last batch may be committed and not counted.
func (a *API) partialRedrive(c *fiber.Ctx, result messages.BulkResult, err error) error {
	p := db.ProblemOf(err)
	a.logProblem(originOf(c), p, err)
	if !result.DryRun {
		p.Retried = &result.Retried
		p.Detail += fmt.Sprintf("; %d messages were redriven before that, and the same request continues with the rest", result.Retried)
	}
	return p
}

func (a *API) eraseMessages(c *fiber.Ctx) error {
	erasure, err := request.ParseErasure(queryOf(c), a.recipients)
	if err != nil {
		return err
	}
	body, err := a.readBody(c)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) > 0 {
		return errBodyNotAllowed
	}
	ctx, cancel := context.WithTimeout(context.Background(), eraseTimeout)
	defer cancel()
	result, err := a.eraser.Erase(ctx, erasure)
	if err != nil {
		return err
	}
	return Respond(c, result)
}

func (a *API) controlHandler(verb string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := a.NoBody(c); err != nil {
			return err
		}
		response, err := a.control.Request(context.Background(), verb, nil)
		if err != nil {
			return err
		}
		return respondJSON(c, http.StatusOK, response)
	}
}

func (a *API) configure(c *fiber.Ctx) error {
	body, err := a.jsonBody(c, true)
	if err != nil {
		return err
	}
	response, err := a.control.Configure(context.Background(), body)
	if err != nil {
		return err
	}
	return respondJSON(c, http.StatusOK, response)
}

func (a *API) status(c *fiber.Ctx) error {
	if err := NoParameters(c); err != nil {
		return err
	}
	overview, err := a.control.Status(context.Background())
	if err != nil {
		return err
	}
	return Respond(c, overview)
}

func respondHealth(c *fiber.Ctx, probe func() (int, []byte)) error {
	status, body := probe()
	return respondJSON(c, status, body)
}
