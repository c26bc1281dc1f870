package ingest

import (
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/service"
)

// Routes returns every route as "METHOD /path", without the HEAD that comes
// with each GET.
func Routes() []string {
	metrics := service.NewMetrics()
	a := newAPI(apiParts{Metrics: metrics, Counts: newCounters(metrics), Log: zap.NewNop()})
	newLegacy(a, nil).register(a.router())
	return a.routeNames()
}
