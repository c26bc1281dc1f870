package doctor

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/pkg/embedded/postgres"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// embedded checks whether "dispatch up" can start its own Postgres.
func (d *doctor) embedded() {
	const check = "postgres"
	d.skip(check, "neither DATABASE_URL nor DB_HOST is set", `the services need one of them; "dispatch up" starts its own Postgres`)
	programs, err := postgres.Examine(filepath.Join(d.dir, "postgres"))
	if err != nil {
		d.wrong(check, `"dispatch up" can't start its own in `+d.dir+": "+err.Error(), "fix that, choose another directory with --data, or set DATABASE_URL")
		return
	}
	d.good(check, fmt.Sprintf(`"dispatch up" can start its own: %s, data in %s`, programs, d.dir))
}

// listeners checks the addresses of the services. Each must be free, or a service
// of ours must listen there already.
func (d *doctor) listeners(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*connect.Patience)
	defer cancel()
	for _, variable := range []string{"HTTP_ADDR", "HEALTH_ADDR"} {
		addr := d.env[variable]
		if _, _, err := net.SplitHostPort(addr); err != nil {
			continue // unset, or invalid and reported already
		}
		d.listener(ctx, variable, addr)
	}
}

func (d *doctor) listener(ctx context.Context, check, addr string) {
	const remedy = "give it another address, or stop what listens there"
	report, status, err := client.Readiness(ctx, "http://"+client.OnLoopback(addr))
	switch {
	case err == nil && status == http.StatusOK:
		d.good(check, fmt.Sprintf("a service answers on %s and is ready", addr))
		return
	case err == nil:
		d.wrong(check, fmt.Sprintf("the service on %s is not ready: %s", addr, notReady(report)), "see the other findings, and the log of the service")
		return
	}
	listener, busy := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if busy != nil {
		d.wrong(check, fmt.Sprintf("can't listen there: %s", busy), remedy)
		return
	}
	listener.Close()
	d.skip(check, addr+" is free: its service does not run here", "")
}

// notReady lists the dependencies that a service waits for.
func notReady(report service.Report) string {
	text := string(report.State)
	for _, name := range slices.Sorted(maps.Keys(report.Checks)) {
		if status := report.Checks[name]; status.State == service.StateDown {
			text += fmt.Sprintf("; %s: %s", name, status.Detail)
		}
	}
	return text
}
