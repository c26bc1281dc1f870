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

// OnLoopback returns the address at which this machine reaches a service that
// listens on addr. An addr without a port means the default.
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

// Readiness requests /health/ready of a service. A response that is not a report
// is an error.
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
		return report, 0, exit.Failed(fmt.Errorf("%s answers %s, but is not a service of Message Dispatcher", base, response.Status))
	}
	return report, response.StatusCode, nil
}
