package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// OnLoopback is where a service on this machine is asked that listens on addr;
// with none, on the default.
func OnLoopback(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "127.0.0.1:8080"
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// Readiness asks a service how it is.
func Readiness(ctx context.Context, base string) (report service.Report, status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/health/ready", nil)
	if err != nil {
		return report, 0, exit.Usage(err)
	}
	client := http.Client{Timeout: connect.Patience}
	response, err := client.Do(request)
	if err != nil {
		return report, 0, exit.Unreachable(fmt.Errorf("no answer from %s: %w", base, errors.Unwrap(err)))
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&report); err != nil || report.State == "" {
		return report, 0, exit.Failed(fmt.Errorf("%s answers %s, and is no service of this system", base, response.Status))
	}
	return report, response.StatusCode, nil
}
