package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/internal/cli/environment"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

func newHealth() *cobra.Command {
	var url string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "health", Short: "Check whether a service is ready: exit 0 if it is", GroupID: "run",
		Long: `Requests GET /health/ready from the service on this machine, at HEALTH_ADDR or
else HTTP_ADDR. It is made for container health checks.`,
		Example: `  dispatch health
  dispatch health --url http://10.0.0.7:8081 --json`,
	}
	cmd.Flags().StringVar(&url, "url", "", "base URL of the service")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if url == "" {
			url = "http://" + localAddr(environment.Read(cmd))
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), connect.Patience)
		defer cancel()
		report, status, err := client.Readiness(ctx, strings.TrimRight(url, "/"))
		if err != nil {
			return err
		}
		if err := output.Show(cmd.OutOrStdout(), asJSON, report, func(t *output.Table) { fillHealth(t, report) }); err != nil {
			return err
		}
		if status != http.StatusOK {
			return fmt.Errorf("not ready: status %d", status)
		}
		return nil
	}
	return cmd
}

// localAddr returns the address of the service on this machine. A service that
// listens on every interface is reached on loopback.
func localAddr(given settings.Environment) string {
	return client.OnLoopback(cmp.Or(given["HEALTH_ADDR"], given["HTTP_ADDR"]))
}

var healthStyle = map[service.State]output.Style{
	service.StateOK: output.StyleGood, service.StateDegraded: output.StyleWaiting, service.StateDown: output.StyleBad,
}

func fillHealth(t *output.Table, report service.Report) {
	t.Row("service", output.Styled(string(report.State), healthStyle[report.State]))
	for _, name := range slices.Sorted(maps.Keys(report.Checks)) {
		status := report.Checks[name]
		t.Row(name, output.Styled(string(status.State), healthStyle[status.State]), status.Detail)
	}
}
