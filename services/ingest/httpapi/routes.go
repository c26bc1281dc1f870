package httpapi

import (
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
)

func (a *API) routes() {
	app := a.app
	v1 := app.Group("/api/v1")
	a.v1 = v1
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

	app.Get("/health", func(c *fiber.Ctx) error { return probe(c, a.health.Live) })
	app.Get("/health/ready", func(c *fiber.Ctx) error { return probe(c, a.health.Ready) })
	app.Get("/openapi.yaml", serveOpenAPI)
	app.Get("/docs", serveDocs)
	app.Get("/docs/:file", serveDocsFile)
	app.Get("/metrics", adaptor.HTTPHandler(a.metrics.Handler()))
}
