package httpapi

import (
	"context"
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

// Limits of a request.
const (
	maxBody       = 16 << 20
	maxHeaders    = 16 << 10
	readTimeout   = time.Minute
	writeTimeout  = time.Minute
	idleTimeout   = 2 * time.Minute
	maxBatchItems = 1000
)

// Limits of all requests together.
const (
	maxStreams       = 256      // NDJSON requests
	maxBodyBytes     = 64 << 20 // of bodies that are not yet stored
	maxResponseBytes = 64 << 20 // of responses that clients have not yet read
	// uncounted is how many bytes of each body and response the limits ignore. A
	// usual message is smaller.
	uncounted = 16 << 10
)

// Keys of fiber's Locals.
const (
	localRequestID = "requestId"
	localCaller    = "caller"
	localBodyRead  = "bodyRead"  // the body was read to its end
	localBodyBytes = "bodyBytes" // how much of maxBodyBytes the request has acquired
)

// Config is what an API works with.
type Config struct {
	Acceptor *accept.Acceptor
	Messages *messages.Service
	Eraser   *erasure.Eraser
	Control  *control.Client
	Rules    message.Rules
	Keys     apikey.Keys
	Health   *service.Health
	Registry *service.Metrics
	Metrics  *metrics.Metrics
	Log      *zap.Logger
}

// API is the HTTP API.
type API struct {
	acceptor   *accept.Acceptor
	messages   *messages.Service
	eraser     *erasure.Eraser
	control    *control.Client
	rules      message.Rules
	recipients request.Recipients
	keys       apikey.Keys
	health     *service.Health
	registry   *service.Metrics
	metrics    *metrics.Metrics
	log        *zap.Logger
	logLimit   logLimit
	now        func() time.Time

	bodies, responses, streams *semaphore.Weighted

	ready atomic.Bool // the schema is there
	conns *listener.Connections
	app   *fiber.App
	v1    fiber.Router
}

// New returns an API. Until SetReady is called, it responds with 503 to
// everything that needs the database.
func New(cfg Config) *API {
	a := &API{
		acceptor: cfg.Acceptor, messages: cfg.Messages, eraser: cfg.Eraser, control: cfg.Control,
		rules: cfg.Rules, recipients: request.NewRecipients(cfg.Rules), keys: cfg.Keys,
		health: cfg.Health, registry: cfg.Registry, metrics: cfg.Metrics, log: cfg.Log, now: time.Now,
		bodies:    semaphore.NewWeighted(maxBodyBytes),
		responses: semaphore.NewWeighted(maxResponseBytes),
		streams:   semaphore.NewWeighted(maxStreams),
		conns:     listener.New(listener.ConnectionLimit()),
	}
	cfg.Metrics.WatchConnections(a.conns.Count)
	a.app = a.newApp()
	a.v1 = a.app.Group("/api/v1")
	a.addRoutes()
	return a
}

// newApp returns the fiber application. It reads bodies as streams, so it can
// check the key before it reads a body. Nothing that it returns aliases its
// buffers: strings are copied (Immutable), and bodies have their own buffers.
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
		ErrorHandler:                 a.handleReadError,
	})
	app.Use(a.middleware)

	server := app.Server()
	server.CloseOnShutdown = true
	inner := server.Handler
	server.Handler = func(ctx *fasthttp.RequestCtx) {
		defer a.conns.Begin(ctx.Conn())()
		if !slices.Contains(fiber.DefaultMethods, string(ctx.Method())) {
			ctx.Request.Header.SetMethod(fiber.MethodTrace) // a method that no route has
		}
		inner(ctx)
	}
	return app
}

// SetReady says that the schema is there.
func (a *API) SetReady() { a.ready.Store(true) }

// Router returns the router below /api/v1. Routes may be added before Serve.
func (a *API) Router() fiber.Router { return a.v1 }

// RouteNames returns every route as "METHOD /path", without HEAD, which comes
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

// Serve serves requests until Drain is called.
func (a *API) Serve(l net.Listener) error {
	return a.app.Listener(a.conns.Listen(l))
}

// Drain finishes the requests that have begun, and closes idle connections.
func (a *API) Drain(ctx context.Context) error {
	a.conns.Drain()
	return a.app.ShutdownWithContext(ctx)
}

// middleware handles every request. It gives the request an id, checks its key,
// turns an error or a panic into a problem, and counts it.
func (a *API) middleware(c *fiber.Ctx) error {
	began := time.Now()
	a.metrics.InFlight.Inc()
	defer a.metrics.InFlight.Dec()
	requestID(c)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderCacheControl, "no-store") // a cache must not hold messages
	if err := a.handle(c); err != nil {
		_ = a.respondProblem(c, err) // always nil
	}
	a.discardBody(c)
	if acquired, ok := c.Locals(localBodyBytes).(int64); ok {
		a.bodies.Release(acquired)
	}
	a.metrics.Request(routeOf(c), c.Method(), c.Response().StatusCode(), time.Since(began))
	return nil
}

func (a *API) handle(c *fiber.Ctx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			a.logPanic(requestID(c), p)
			err = message.NewProblem(http.StatusInternalServerError, message.ProblemInternal, "an unexpected error; its cause is in the service's log")
		}
	}()
	if err := a.authenticate(c); err != nil {
		return err
	}
	if strings.HasPrefix(c.Path(), "/api/") && !a.ready.Load() {
		return errNotReady
	}
	return c.Next()
}

func (a *API) logPanic(requestID string, p any) {
	a.log.Error("panic", zap.String("requestId", requestID), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
}

// handleReadError handles a request that fasthttp can't read.
func (a *API) handleReadError(c *fiber.Ctx, err error) error {
	conn := c.Context().Conn()
	listener.Linger(conn)
	if framing := listener.FramingError(conn); framing != nil {
		err = message.NewProblem(http.StatusBadRequest, message.ProblemMalformed, framing.Error())
	}
	return a.respondProblem(c, err)
}
