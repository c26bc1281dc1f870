package ingest

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// eraseBudget is for how long a request erases.
const eraseBudget = 20 * time.Second

// erasure is a request to erase a recipient.
type erasure struct {
	to     string // as it is stored
	dryRun bool
}

// erasureAnswer is what became of it.
type erasureAnswer struct {
	DryRun      bool       `json:"dryRun"`
	Erased      int64      `json:"erased"`      // messages
	Cancelled   int64      `json:"cancelled"`   // of them, not yet final
	Attempts    int64      `json:"attempts"`    // of them
	Cached      int64      `json:"cached"`      // states in Redis
	Unpublished int64      `json:"unpublished"` // events that waited for NATS
	Intake      int64      `json:"intake"`      // entries of the intake stream
	Rejected    int64      `json:"rejected"`    // entries of the stream of rejections
	EventsUntil *time.Time `json:"eventsUntil"` // when the last event that names the recipient is gone
	More        bool       `json:"more,omitempty"`
}

func (a *api) eraseMessages(c *fiber.Ctx) error {
	q := parametersOf(c)
	request, err := a.eraser.read(q)
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
	return answer(c, done)
}

// read makes an erasure of the parameters; its error names every mistake.
func (e *eraser) read(q query) (erasure, error) {
	r := filterReader{recipient: e.recipient}
	var request erasure
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case name != "to" && name != "dryRun":
			r.bad(name, message.CodeUnknownParameter, "is not a parameter of this request")
		case len(q[name]) > 1:
			r.bad(name, message.CodeDuplicateField, "must be given once")
		case name == "to":
			request.to = r.readText(name, q[name][0])
		default:
			var err error
			if request.dryRun, err = strconv.ParseBool(q[name][0]); err != nil {
				r.bad(name, message.CodeInvalidValue, "must be true or false")
			}
		}
	}
	switch {
	case len(q["to"]) == 0:
		r.bad("to", message.CodeRequired, "must be given: whose messages to erase")
	case len(r.errs) == 0 && e.wantsPhone():
		if _, err := message.NormalizePhone(request.to); err != nil {
			r.bad("to", message.CodeInvalidPhoneNumber, err.Error())
		}
	}
	if len(r.errs) > 0 {
		return erasure{}, badParameters(r.errs)
	}
	return request, nil
}

func (e *eraser) wantsPhone() bool {
	return e.rules.Destinations[message.DefaultDestination] == message.RecipientPhone
}
