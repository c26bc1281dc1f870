package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/messages"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

// bulkBudget is for how long a request retries.
const bulkBudget = 10 * time.Second

func (a *API) retryMany(c *fiber.Ctx) error {
	body, err := a.jsonBody(c, true)
	if err != nil {
		return err
	}
	request, err := request.ReadBulkRedrive(body)
	if err != nil {
		return err
	}
	done, err := a.messages.RetryMany(context.Background(), request, time.Now().Add(bulkBudget))
	if err != nil {
		return a.brokenOff(c, done, err)
	}
	return Answer(c, done)
}

// brokenOff is the problem of a bulk retry that could not be finished. Its
// last batch may count or not: whether it was committed was not answered.
func (a *API) brokenOff(c *fiber.Ctx, done messages.BulkResult, err error) error {
	p := db.ProblemOf(err)
	a.report(c, p, err)
	if !done.DryRun {
		p.Retried = &done.Retried
		p.Detail += fmt.Sprintf("; %d messages were brought back before that, and the same request goes on with the rest", done.Retried)
	}
	return p
}

// eraseBudget is for how long a request erases.
const eraseBudget = 20 * time.Second

func (a *API) eraseMessages(c *fiber.Ctx) error {
	q := parametersOf(c)
	request, err := request.ReadErasure(q, a.recipients)
	if err != nil {
		return err
	}
	body, err := a.readBody(c)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) > 0 {
		return &message.MalformedError{Subject: "this request", Reason: "takes no body"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), eraseBudget)
	defer cancel()
	done, err := a.eraser.Erase(ctx, request)
	if err != nil {
		return err
	}
	return Answer(c, done)
}

func (a *API) controlVerb(verb string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := a.NoBody(c); err != nil {
			return err
		}
		done, err := a.control.Do(context.Background(), verb, nil)
		if err != nil {
			return err
		}
		return answerRaw(c, http.StatusOK, done)
	}
}

func (a *API) configure(c *fiber.Ctx) error {
	body, err := a.jsonBody(c, true)
	if err != nil {
		return err
	}
	done, err := a.control.Configure(context.Background(), body)
	if err != nil {
		return err
	}
	return answerRaw(c, http.StatusOK, done)
}

func (a *API) status(c *fiber.Ctx) error {
	if err := NoParameters(c); err != nil {
		return err
	}
	overview, err := a.control.Status(context.Background())
	if err != nil {
		return err
	}
	return Answer(c, overview)
}
