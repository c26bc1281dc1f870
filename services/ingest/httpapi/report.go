package httpapi

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/accept"
)

// worthALine reports whether the log has to tell of an error. What words a
// problem tells of its cause by itself.
func worthALine(err error) bool {
	return !errors.As(err, new(*message.Problem)) || errors.Is(err, accept.ErrTimeout) || errors.Is(err, errNotReady)
}

// report logs what the operator has to know: nobody else hears of the cause.
func (a *API) report(c *fiber.Ctx, p *message.Problem, err error) {
	a.reportFrom(origin{requestID(c), c.Method(), routeOf(c)}, p, err)
}

// origin is the request that a report is about.
type origin struct{ requestID, method, route string }

func (a *API) reportFrom(o origin, p *message.Problem, err error) {
	if p.Status < http.StatusInternalServerError || !worthALine(err) {
		return
	}
	fields := []zap.Field{
		zap.String("requestId", o.requestID), zap.String("method", o.method), zap.String("route", o.route), zap.Error(err),
	}
	if p.Code == message.ProblemInternal {
		a.log.Error("request failed", fields...)
		return
	}
	if a.failing.allow() { // an outage is one story, not one for each request
		a.log.Warn("requests can't be served", fields...)
	}
}

// throttleEvery is how often a throttle lets something through.
const throttleEvery = 10 * time.Second

// throttle keeps a long outage from filling the log. The zero value is ready;
// it is safe for concurrent use.
type throttle struct {
	mu   sync.Mutex
	last time.Time
}

// allow reports whether the last time was long enough ago.
func (t *throttle) allow() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.last.IsZero() && time.Since(t.last) < throttleEvery {
		return false
	}
	t.last = time.Now()
	return true
}
