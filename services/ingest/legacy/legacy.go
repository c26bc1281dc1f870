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

// The routes of the original go-message-dispatcher that have another name
// here, answered in its shapes, for clients that know no others. Errors are
// problems, as everywhere.

// legacy answers these routes. The helpers are those of the API.
type legacy struct {
	api     *httpapi.API
	control *control.Client
}

// New returns the routes of the original.
func New(api *httpapi.API, control *control.Client) legacy { return legacy{api: api, control: control} }

// Register adds the routes below /api/v1.
func (l legacy) Register(v1 fiber.Router) {
	v1.Post("/scheduler/start", l.schedulerVerb("start", schedulerTold{"scheduler started successfully", "running"}, "is already running"))
	v1.Post("/scheduler/stop", l.schedulerVerb("stop", schedulerTold{"scheduler stopped successfully", "stopped"}, "is not running"))
	v1.Get("/scheduler/status", l.schedulerStatus)
	v1.Post("/messaging/process", l.process)
}

// schedulerTold is what the original answered to a start or a stop.
type schedulerTold struct {
	Message string `json:"message"`
	Status  string `json:"status"`
}

// schedulerVerb is controlVerb, but that what already is so is a conflict.
func (l legacy) schedulerVerb(verb string, told schedulerTold, already string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := l.api.NoBody(c); err != nil {
			return err
		}
		done, err := l.control.Do(context.Background(), verb, nil)
		if err != nil {
			return err
		}
		var overview message.Overview
		if err := json.Unmarshal(done, &overview); err != nil {
			return fmt.Errorf("read the answer to %s: %w", verb, err)
		}
		if overview.Changed != nil && !*overview.Changed {
			return message.NewProblem(http.StatusConflict, message.ProblemWrongState, "the scheduler "+already)
		}
		return httpapi.Answer(c, told)
	}
}

// scheduler is the pace in the original's words. What it counted since its
// start is counted over everything here.
type scheduler struct {
	IsRunning             bool             `json:"isRunning"`
	IsCurrentlyProcessing bool             `json:"isCurrentlyProcessing"`
	TotalProcessed        int64            `json:"totalProcessed"`
	TotalSuccessful       int64            `json:"totalSuccessful"`
	TotalFailed           int64            `json:"totalFailed"`
	LastProcessingTime    time.Time        `json:"lastProcessingTime"` // the zero time before the first tick
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

func (l legacy) schedulerStatus(c *fiber.Ctx) error {
	if err := httpapi.NoParameters(c); err != nil {
		return err
	}
	overview, err := l.control.Status(context.Background())
	if err != nil {
		return err
	}
	return httpapi.Answer(c, schedulerOf(overview))
}

// processed is what the original answered to a batch out of turn.
type processed struct {
	ProcessedCount int      `json:"processedCount"`
	SuccessCount   int      `json:"successCount"`
	FailedCount    int      `json:"failedCount"`
	Errors         []string `json:"errors"`
}

// process takes up nothing: a batch out of turn would break the pace, which
// holds for everyone. It says when the next one comes.
func (l legacy) process(c *fiber.Ctx) error {
	if err := l.api.NoBody(c); err != nil {
		return err
	}
	overview, err := l.control.Status(context.Background())
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
	return httpapi.Answer(c, processed{Errors: []string{"no batch is taken up out of turn: " + when}})
}
