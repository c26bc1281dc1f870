package httpapi

import (
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"

	"github.com/message-dispatcher/dispatch/services/ingest/httpapi/docs"
)

func (a *API) addRoutes() {
	a.v1.Post("/messages", a.createMessage)
	a.v1.Get("/messages", a.listMessages)
	a.v1.Delete("/messages", a.eraseMessages)
	a.v1.Post("/messages/batch", a.createBatch)
	a.v1.Post("/messages/retry", a.redriveMany)
	a.v1.Get("/messages/:id", a.getMessage)
	a.v1.Get("/messages/:id/attempts", a.listAttempts)
	a.v1.Post("/messages/:id/cancel", a.cancelMessage)
	a.v1.Post("/messages/:id/retry", a.redriveMessage)

	a.v1.Post("/messaging/start", a.controlHandler("start"))
	a.v1.Post("/messaging/stop", a.controlHandler("stop"))
	a.v1.Get("/messaging/status", a.status)
	a.v1.Patch("/messaging", a.configure)

	a.app.Get("/health", func(c *fiber.Ctx) error { return respondHealth(c, a.health.Live) })
	a.app.Get("/health/ready", func(c *fiber.Ctx) error { return respondHealth(c, a.health.Ready) })
	docs.Register(a.app)
	a.app.Get("/metrics", adaptor.HTTPHandler(a.registry.Handler()))
}
