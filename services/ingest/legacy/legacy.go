// Package legacy serves the routes of the original go-message-dispatcher that
// have another name here, with the original's responses. It is for clients that
// know only those. Errors are problems, as everywhere. Nothing else depends on
// this package, except Run.
package legacy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/control"
	"github.com/message-dispatcher/dispatch/services/ingest/httpapi"
)

// Routes are the original's routes.
type Routes struct {
	api     *httpapi.API
	control *control.Client
}

// New returns the routes. They use the API's checks and responses.
func New(api *httpapi.API, control *control.Client) Routes {
	return Routes{api: api, control: control}
}

// Register adds the routes to the API.
func (r Routes) Register() {
	v1 := r.api.Router()
	v1.Post("/scheduler/start", r.schedulerHandler("start", schedulerChange{"scheduler started successfully", "running"}, "is already running"))
	v1.Post("/scheduler/stop", r.schedulerHandler("stop", schedulerChange{"scheduler stopped successfully", "stopped"}, "is not running"))
	v1.Get("/scheduler/status", r.schedulerStatus)
	v1.Post("/messaging/process", r.process)
}

// schedulerChange is the original's response to a start or a stop.
type schedulerChange struct {
	Message string `json:"message"`
	Status  string `json:"status"`
}

// schedulerHandler starts or stops the pace. If that changes nothing, the
// response is a conflict; conflict is the end of its detail.
func (r Routes) schedulerHandler(verb string, change schedulerChange, conflict string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := r.api.NoBody(c); err != nil {
			return err
		}
		response, err := r.control.Request(context.Background(), verb, nil)
		if err != nil {
			return err
		}
		var overview message.Overview
		if err := json.Unmarshal(response, &overview); err != nil {
			return fmt.Errorf("read the response to %s: %w", verb, err)
		}
		if overview.Changed != nil && !*overview.Changed {
			return message.NewProblem(http.StatusConflict, message.ProblemWrongState, "the scheduler "+conflict)
		}
		return httpapi.Respond(c, change)
	}
}

// scheduler is the original's status. The original counted since its start; here
// the counts are of all messages.
type scheduler struct {
	IsRunning             bool             `json:"isRunning"`
	IsCurrentlyProcessing bool             `json:"isCurrentlyProcessing"`
	TotalProcessed        int64            `json:"totalProcessed"`
	TotalSuccessful       int64            `json:"totalSuccessful"`
	TotalFailed           int64            `json:"totalFailed"`
	LastProcessingTime    time.Time        `json:"lastProcessingTime"` // zero before the first tick
	NextProcessingIn      message.Duration `json:"nextProcessingIn"`
	Interval              message.Duration `json:"interval"`
	BatchSize             int              `json:"batchSize"`
}

func schedulerOf(o message.Overview) scheduler {
	s := scheduler{
		IsRunning:             o.State == message.StateRunning,
		IsCurrentlyProcessing: o.Counts[message.Queued] > 0,
		TotalSuccessful:       o.Counts[message.Sent],
		TotalFailed:           o.Counts[message.Failed],
		NextProcessingIn:      message.Duration(max(o.Wait, 0).Round(time.Second)),
		Interval:              o.Interval,
		BatchSize:             o.BatchSize,
	}
	s.TotalProcessed = s.TotalSuccessful + s.TotalFailed
	if o.LastTickAt != nil {
		s.LastProcessingTime = *o.LastTickAt
	}
	return s
}

func (r Routes) schedulerStatus(c *fiber.Ctx) error {
	if err := httpapi.NoParameters(c); err != nil {
		return err
	}
	overview, err := r.control.Status(context.Background())
	if err != nil {
		return err
	}
	return httpapi.Respond(c, schedulerOf(overview))
}

// processed is the original's response to a batch that a client triggers.
type processed struct {
	ProcessedCount int      `json:"processedCount"`
	SuccessCount   int      `json:"successCount"`
	FailedCount    int      `json:"failedCount"`
	Errors         []string `json:"errors"`
}

// process sends nothing: an additional batch would break the pace. It says when
// the next one is due.
func (r Routes) process(c *fiber.Ctx) error {
	if err := r.api.NoBody(c); err != nil {
		return err
	}
	overview, err := r.control.Status(context.Background())
	if err != nil {
		return err
	}
	when := "the next batch comes within moments"
	switch {
	case overview.State == message.StateStopped:
		when = "sending is stopped"
	case overview.NextTickAt != nil && overview.Wait > 0:
		when = "the next batch comes at " + overview.NextTickAt.Format(time.RFC3339)
	}
	return httpapi.Respond(c, processed{Errors: []string{"no batch is taken up out of turn: " + when}})
}
