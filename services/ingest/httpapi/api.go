package httpapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest/accept"
	"github.com/message-dispatcher/dispatch/services/ingest/control"
	"github.com/message-dispatcher/dispatch/services/ingest/erasure"
	"github.com/message-dispatcher/dispatch/services/ingest/httpapi/apikey"
	"github.com/message-dispatcher/dispatch/services/ingest/httpapi/listener"
	"github.com/message-dispatcher/dispatch/services/ingest/messages"
	"github.com/message-dispatcher/dispatch/services/ingest/metrics"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

// Limits of HTTP.
const (
	maxBody       = 16 << 20
	maxHeaders    = 16 << 10
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

// Config are what the API works with.
type Config struct {
	Acceptor *accept.Acceptor
	Messages *messages.Service
	Eraser   *erasure.Eraser
	Control  *control.Client
	Rules    message.Rules
	Keys     apikey.Keys
	Health   *service.Health
	Metrics  *service.Metrics
	Counts   *metrics.Metrics
	Log      *zap.Logger
}

// API is the HTTP side of the service.
type API struct {
	acceptor   *accept.Acceptor
	messages   *messages.Service
	eraser     *erasure.Eraser
	control    *control.Client
	rules      message.Rules
	recipients request.Recipients
	keys       apikey.Keys
	health     *service.Health
	metrics    *service.Metrics
	counts     *metrics.Metrics
	log        *zap.Logger
	failing    *throttle

	bodies, answers, streams *semaphore.Weighted // what may be held

	ready atomic.Bool // false until the schema is there
	conns *listener.Connections
	app   *fiber.App
	v1    fiber.Router
}

// New returns an API that answers 503 to all that needs the database until
// SetReady is called.
func New(p Config) *API {
	a := &API{
		acceptor: p.Acceptor, messages: p.Messages, eraser: p.Eraser, control: p.Control,
		rules: p.Rules, recipients: request.NewRecipients(p.Rules), keys: p.Keys,
		health: p.Health, metrics: p.Metrics, counts: p.Counts, log: p.Log, failing: new(throttle),
		bodies: semaphore.NewWeighted(bodyRoom), answers: semaphore.NewWeighted(answerRoom), streams: semaphore.NewWeighted(maxStreams),
		conns: listener.New(listener.ConnectionLimit()),
	}
	p.Counts.WatchConnections(a.conns.Count)
	a.app = a.newApp()
	a.routes()
	return a
}

// SetReady says that the schema is there.
func (a *API) SetReady() { a.ready.Store(true) }

// Router returns the Router below /api/v1, for routes that are added before
// Serve.
func (a *API) Router() fiber.Router { return a.v1 }

// RouteNames returns every route as "METHOD /path", without the HEAD that comes
// with each GET.
func (a *API) RouteNames() []string {
	var names []string
	for _, r := range a.app.GetRoutes(true) {
		if r.Method != http.MethodHead {
			names = append(names, r.Method+" "+r.Path)
		}
	}
	return names
}

// Serve answers requests until drain is called.
func (a *API) Serve(listener net.Listener) error {
	return a.app.Listener(a.conns.Listen(listener))
}

// Drain finishes the requests that have begun. Idle connections are closed.
func (a *API) Drain(ctx context.Context) error {
	a.conns.Drain()
	return a.app.ShutdownWithContext(ctx)
}

// newApp makes the fiber application. It reads bodies as streams, so that a key
// is asked for before anything is read, and nothing that it hands out aliases
// its buffers: strings are copied (Immutable), bodies read into their own.
func (a *API) newApp() *fiber.App {
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

	server := app.Server()
	server.CloseOnShutdown = true
	inner := server.Handler
	server.Handler = func(ctx *fasthttp.RequestCtx) {
		defer a.conns.Begin(ctx.Conn())()
		if !slices.Contains(fiber.DefaultMethods, string(ctx.Method())) {
			ctx.Request.Header.SetMethod(fiber.MethodTrace) // like one that no route has
		}
		inner(ctx)
	}
	return app
}

// around is what happens to every request: it gets an id, its caller is
// asked for a key, its error becomes a problem, a panic an error.
func (a *API) around(c *fiber.Ctx) error {
	began := time.Now()
	a.counts.InFlight.Inc()
	defer a.counts.InFlight.Dec()
	requestID(c)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderCacheControl, "no-store") // messages are nobody else's business
	if err := a.guarded(c); err != nil {
		_ = a.refuse(c, err) // it returns none
	}
	a.discardBody(c)
	if taken, ok := c.Locals(localBodyRoom).(int64); ok {
		a.bodies.Release(taken)
	}
	a.counts.Request(routeOf(c), c.Method(), c.Response().StatusCode(), time.Since(began))
	return nil
}

func (a *API) guarded(c *fiber.Ctx) (err error) {
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

func (a *API) panicked(requestID string, p any) {
	a.log.Error("panic", zap.String("requestId", requestID), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
}

// refuseUnread is where fasthttp's own errors end: of requests that it could
// not read.
func (a *API) refuseUnread(c *fiber.Ctx, err error) error {
	conn := c.Context().Conn()
	listener.Linger(conn)
	if broken := listener.BrokenFraming(conn); broken != nil {
		err = message.NewProblem(http.StatusBadRequest, message.ProblemMalformed, broken.Error())
	}
	return a.refuse(c, err)
}

// refuse answers with a problem.
func (a *API) refuse(c *fiber.Ctx, err error) error {
	var routing *fiber.Error
	var p *message.Problem
	if errors.As(err, &routing) {
		p = problemOfFiber(routing)
		if p.Status == http.StatusMethodNotAllowed {
			p.Detail = "this path takes " + c.GetRespHeader(fiber.HeaderAllow)
		}
	} else {
		p = db.ProblemOf(err)
		a.report(c, p, err)
	}
	p.RequestID = requestID(c)
	if p.RetryAfter > 0 {
		c.Set(fiber.HeaderRetryAfter, p.RetryAfterSeconds())
	}
	c.Set(fiber.HeaderContentType, message.MediaTypeProblem)
	return c.Status(p.Status).Send(p.JSON())
}
