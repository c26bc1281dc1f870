package ingest

import (
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest/httpapi"
	"github.com/message-dispatcher/dispatch/services/ingest/legacy"
	"github.com/message-dispatcher/dispatch/services/ingest/metrics"
)

// Routes returns every route as "METHOD /path", without the HEAD that comes
// with each GET.
func Routes() []string {
	registry := service.NewMetrics()
	a := httpapi.New(httpapi.Config{Metrics: registry, Counts: metrics.New(registry), Log: zap.NewNop()})
	legacy.New(a, nil).Register(a.Router())
	return a.RouteNames()
}
