package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/pkg/service"
)

func newHealth() *cobra.Command {
	var url string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "health", Short: "Ask a service whether it is ready: exit 0 if it is", GroupID: "run",
		Long: `Asks GET /health/ready of the service on this machine, at HEALTH_ADDR or else
HTTP_ADDR. Made for container health checks.`,
		Example: `  dispatch health
  dispatch health --url http://10.0.0.7:8081 --json`,
	}
	cmd.Flags().StringVar(&url, "url", "", "base URL of the service")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if url == "" {
			url = "http://" + localAddr(readSettings(cmd))
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), reachWait)
		defer cancel()
		report, status, err := readiness(ctx, strings.TrimRight(url, "/"))
		if err != nil {
			return err
		}
		if err := show(cmd.OutOrStdout(), asJSON, report, func(t *table) { fillHealth(t, report) }); err != nil {
			return err
		}
		if status != http.StatusOK {
			return fmt.Errorf("not ready: it answers %d", status)
		}
		return nil
	}
	return cmd
}

// localAddr is where the service on this machine answers. A service that
// listens on every interface is asked on loopback.
func localAddr(settings service.Environment) string {
	return onLoopback(cmp.Or(settings["HEALTH_ADDR"], settings["HTTP_ADDR"]))
}

// onLoopback is where a service on this machine is asked that listens on addr;
// with none, on the default.
func onLoopback(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "127.0.0.1:8080"
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// readiness asks a service how it is.
func readiness(ctx context.Context, base string) (report service.Report, status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/health/ready", nil)
	if err != nil {
		return report, 0, usage(err)
	}
	client := http.Client{Timeout: reachWait}
	response, err := client.Do(request)
	if err != nil {
		return report, 0, unreachable(fmt.Errorf("no answer from %s: %w", base, errors.Unwrap(err)))
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&report); err != nil || report.State == "" {
		return report, 0, &exitError{exitFailed, fmt.Errorf("%s answers %s, and is no service of this system", base, response.Status)}
	}
	return report, response.StatusCode, nil
}

var healthStyle = map[service.State]*color.Color{
	service.StateOK: styleGood, service.StateDegraded: styleWait, service.StateDown: styleBad,
}

func fillHealth(t *table, report service.Report) {
	t.row("service", cell{string(report.State), healthStyle[report.State]})
	for _, name := range slices.Sorted(maps.Keys(report.Checks)) {
		status := report.Checks[name]
		t.row(name, cell{string(status.State), healthStyle[status.State]}, status.Detail)
	}
}
