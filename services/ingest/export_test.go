package ingest

import (
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest/httpapi"
	"github.com/message-dispatcher/dispatch/services/ingest/legacy"
	"github.com/message-dispatcher/dispatch/services/ingest/metrics"
)

// Routes returns every route as "METHOD /path", without HEAD, which comes with
// each GET.
func Routes() []string {
	registry := service.NewMetrics()
	api := httpapi.New(httpapi.Config{Registry: registry, Metrics: metrics.New(registry), Log: zap.NewNop()})
	legacy.New(api, nil).Register()
	return api.RouteNames()
}
