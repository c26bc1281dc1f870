package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// Limits of HTTP.
const (
	maxBody       = 16 << 20
	maxHeaders    = 16 << 10
	maxDiscarded  = 64 << 20 // of a refused body, read so that the client gets to see the refusal
	readTimeout   = time.Minute
	writeTimeout  = time.Minute
	idleTimeout   = 2 * time.Minute
	maxBatchItems = 1000
)

// The keys under which the middleware keeps things with a request.
const (
	localRequestID = "requestId"
	localCaller    = "caller"
	localBodyRead  = "bodyRead" // the body was read to its end
	localBodyRoom  = "bodyRoom" // how much room its body has
)

const (
	typeJSON    = "application/json"
	typeNDJSON  = "application/x-ndjson"
	typeProblem = "application/problem+json"
)

// api is the HTTP side of the service.
type api struct {
	cases   *useCases
	eraser  *eraser
	control *control
	keys    apiKeys
	health  *service.Health
	metrics *service.Metrics
	counts  *counters
	log     *zap.Logger
	failing *throttle

	bodies, answers, streams *room // what may be held

	ready atomic.Bool // false until the schema is there
	conns connections
}

// app makes the fiber application. It reads bodies as streams, so that a key
// is asked for before anything is read, and nothing that it hands out aliases
// its buffers: strings are copied (Immutable), bodies read into their own.
func (a *api) app() *fiber.App {
	app := fiber.New(fiber.Config{
		AppName:                      "dispatch-ingest",
		DisableStartupMessage:        true,
		Immutable:                    true,
		CaseSensitive:                true,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		BodyLimit:                    maxBody,
		ReadBufferSize:               maxHeaders,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		ErrorHandler:                 a.refuseUnread,
	})
	app.Use(a.around)
	a.routes(app)

	server := app.Server()
	server.CloseOnShutdown = true
	inner := server.Handler
	server.Handler = func(ctx *fasthttp.RequestCtx) {
		defer a.conns.begin(ctx.Conn())()
		if !slices.Contains(fiber.DefaultMethods, string(ctx.Method())) {
			ctx.Request.Header.SetMethod(fiber.MethodTrace) // like one that no route has
		}
		inner(ctx)
	}
	return app
}

func (a *api) routes(app *fiber.App) {
	v1 := app.Group("/api/v1")
	v1.Post("/messages", a.createMessage)
	v1.Get("/messages", a.listMessages)
	v1.Delete("/messages", a.eraseMessages)
	v1.Post("/messages/batch", a.createBatch)
	v1.Post("/messages/retry", a.retryMany)
	v1.Get("/messages/:id", a.getMessage)
	v1.Get("/messages/:id/attempts", a.listAttempts)
	v1.Post("/messages/:id/cancel", a.cancelMessage)
	v1.Post("/messages/:id/retry", a.retryMessage)

	v1.Post("/messaging/start", a.controlVerb("start"))
	v1.Post("/messaging/stop", a.controlVerb("stop"))
	v1.Get("/messaging/status", a.status)
	v1.Patch("/messaging", a.configure)
	a.originalRoutes(v1)

	app.Get("/health", func(c *fiber.Ctx) error { return probe(c, a.health.Live) })
	app.Get("/health/ready", func(c *fiber.Ctx) error { return probe(c, a.health.Ready) })
	app.Get("/openapi.yaml", serveOpenAPI)
	app.Get("/docs", serveDocs)
	app.Get("/docs/:file", serveDocsFile)
	app.Get("/metrics", adaptor.HTTPHandler(a.metrics.Handler()))
}

// around is what happens to every request: it gets an id, its caller is
// asked for a key, its error becomes a problem, a panic an error.
func (a *api) around(c *fiber.Ctx) error {
	began := time.Now()
	a.counts.inFlight.Inc()
	defer a.counts.inFlight.Dec()
	requestID(c)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderCacheControl, "no-store") // messages are nobody else's business
	if err := a.guarded(c); err != nil {
		_ = a.refuse(c, err) // it returns none
	}
	a.discardBody(c)
	if taken, ok := c.Locals(localBodyRoom).(int); ok {
		a.bodies.give(taken)
	}
	a.counts.request(routeOf(c), c.Method(), c.Response().StatusCode(), time.Since(began))
	return nil
}

func (a *api) guarded(c *fiber.Ctx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			a.panicked(requestID(c), p)
			err = message.NewProblem(http.StatusInternalServerError, message.ProblemInternal, "an unexpected error; its cause is in the service's log")
		}
	}()
	if err := a.admit(c); err != nil {
		return err
	}
	if strings.HasPrefix(c.Path(), "/api/") && !a.ready.Load() {
		return errNotReady
	}
	return c.Next()
}

func (a *api) panicked(requestID string, p any) {
	a.log.Error("panic", zap.String("requestId", requestID), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
}

// refuseUnread is where fasthttp's own errors end: of requests that it could
// not read.
func (a *api) refuseUnread(c *fiber.Ctx, err error) error {
	conn := c.Context().Conn()
	linger(conn)
	if broken := brokenFraming(conn); broken != nil {
		err = message.NewProblem(http.StatusBadRequest, message.ProblemMalformed, broken.Error())
	}
	return a.refuse(c, err)
}

// refuse answers with a problem.
func (a *api) refuse(c *fiber.Ctx, err error) error {
	var routing *fiber.Error
	var p *message.Problem
	if errors.As(err, &routing) {
		p = problemOfFiber(routing)
		if p.Status == http.StatusMethodNotAllowed {
			p.Detail = "this path takes " + c.GetRespHeader(fiber.HeaderAllow)
		}
	} else {
		p = problemOf(err)
		a.report(c, p, err)
	}
	p.RequestID = requestID(c)
	if p.RetryAfter > 0 {
		c.Set(fiber.HeaderRetryAfter, p.RetryAfterSeconds())
	}
	c.Set(fiber.HeaderContentType, typeProblem)
	return c.Status(p.Status).Send(p.JSON())
}

// report logs what the operator has to know: nobody else hears of the cause.
func (a *api) report(c *fiber.Ctx, p *message.Problem, err error) {
	a.reportFrom(origin{requestID(c), c.Method(), routeOf(c)}, p, err)
}

// origin is the request that a report is about.
type origin struct{ requestID, method, route string }

func (a *api) reportFrom(o origin, p *message.Problem, err error) {
	var told *message.Problem
	if p.Status < http.StatusInternalServerError || errors.As(err, &told) {
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

// problemOfFiber words the errors of routing and reading.
func problemOfFiber(err *fiber.Error) *message.Problem {
	switch err.Code {
	case http.StatusNotFound:
		return message.NewProblem(err.Code, message.ProblemNotFound, "there is nothing at this path; /docs shows what there is")
	case http.StatusMethodNotAllowed:
		return message.NewProblem(err.Code, message.ProblemMethodNotAllowed, "this path takes other methods")
	case http.StatusRequestEntityTooLarge:
		return errTooLarge()
	case http.StatusRequestTimeout:
		return message.NewProblem(err.Code, message.ProblemRequestTimeout, "the request did not arrive in time")
	case http.StatusRequestHeaderFieldsTooLarge:
		return message.NewProblem(err.Code, message.ProblemHeadersTooLarge, fmt.Sprintf("the headers must not be more than %d bytes", maxHeaders))
	}
	return message.NewProblem(http.StatusBadRequest, message.ProblemMalformed, "the request is not HTTP as it should be")
}

func errTooLarge() *message.Problem {
	return message.NewProblem(http.StatusRequestEntityTooLarge, message.ProblemTooLarge, fmt.Sprintf("the body must not be more than %d bytes", maxBody))
}

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._:/+=@-]{1,128}$`)

// requestID returns the request's id, and answers it: the one that came with
// it, if that can do no harm in a log, or a new one.
func requestID(c *fiber.Ctx) string {
	if id, ok := c.Locals(localRequestID).(string); ok {
		return id
	}
	id := c.Get(fiber.HeaderXRequestID)
	if !requestIDPattern.MatchString(id) {
		id = message.NewID(time.Now()).String()
	}
	c.Locals(localRequestID, id)
	c.Set(fiber.HeaderXRequestID, id)
	return id
}

// routeOf returns the pattern that a request matched, for labels: paths that
// match none are one.
func routeOf(c *fiber.Ctx) string {
	if path := c.Route().Path; path != "/" {
		return path
	}
	return "none"
}

func probe(c *fiber.Ctx, ask func() (int, []byte)) error {
	code, body := ask()
	return answerRaw(c, code, body)
}

// answer answers 200 with JSON.
func answer(c *fiber.Ctx, body any) error {
	return answerRaw(c, http.StatusOK, message.EncodeJSON(body))
}

// answerHeld is answer for what may be large: a client that does not read it
// holds it for as long as a write may take.
func (a *api) answerHeld(c *fiber.Ctx, body any) error {
	text := message.EncodeJSON(body)
	if len(text) <= smallEnough {
		return answerRaw(c, http.StatusOK, text)
	}
	if !a.answers.take(len(text)) {
		return errBusy
	}
	a.hold(c, text, len(text))
	return nil
}

// answerPage is answerHeld for a page, which has its room before it is
// written: that takes as much time and memory as all that is done for it.
func (a *api) answerPage(c *fiber.Ctx, found page) error {
	size := found.size()
	if size <= smallEnough {
		return a.answerHeld(c, found)
	}
	if !a.answers.take(size) {
		return errBusy
	}
	a.hold(c, found.AppendJSON(make([]byte, 0, size)), size)
	return nil
}

// hold answers with what has so much room, which it gives back.
func (a *api) hold(c *fiber.Ctx, text []byte, taken int) {
	c.Set(fiber.HeaderContentType, typeJSON)
	c.Context().SetBodyStream(heldAnswer{bytes.NewReader(text), func() { a.answers.give(taken) }}, len(text))
}

func answerRaw(c *fiber.Ctx, status int, body []byte) error {
	c.Set(fiber.HeaderContentType, typeJSON)
	return c.Status(status).Send(body)
}
