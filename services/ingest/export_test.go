package ingest

import (
	"net/http"

	"github.com/message-dispatcher/dispatch/pkg/service"
)

// Routes returns every route as "METHOD /path", without the HEAD that comes
// with each GET.
func Routes() []string {
	var routes []string
	for _, r := range (&api{metrics: service.NewMetrics()}).app().GetRoutes(true) {
		if r.Method != http.MethodHead {
			routes = append(routes, r.Method+" "+r.Path)
		}
	}
	return routes
}
