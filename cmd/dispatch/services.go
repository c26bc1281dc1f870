package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pipeline"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher"
	"github.com/message-dispatcher/dispatch/services/ingest"
	"github.com/message-dispatcher/dispatch/services/sender"
)

func newIngest() *cobra.Command {
	return serviceCommand("ingest", "Take messages in over HTTP and NATS, and answer questions about them", ingest.Run)
}

func newDispatcher() *cobra.Command {
	return serviceCommand("dispatcher", "Emit messages at their pace, and record what became of them", dispatcher.Run)
}

func newSender() *cobra.Command {
	return serviceCommand("sender", "Deliver emitted messages to the webhook", sender.Run)
}

func newProvision() *cobra.Command {
	cmd := serviceCommand("provision", "Bring the schema, the streams and the schedule up to date",
		func(ctx context.Context, cfg pipeline.ProvisionConfig, log *zap.Logger) error {
			if err := pipeline.Provision(ctx, cfg, log); err != nil {
				return err
			}
			log.Info("provisioned")
			return nil
		})
	cmd.Long = `Brings the schema in Postgres, the streams and consumers in NATS and the schedule
up to date. Run it before the services, and after each upgrade; it may run at
any time. PROCESSING_INTERVAL and BATCH_SIZE are applied only where they differ
from what was applied last, so that a pace set later by "dispatch configure" or
PATCH /api/v1/messaging outlives a restart.`
	return cmd
}

// serviceCommand runs something that is configured by the environment alone.
func serviceCommand[T any](name, short string, work func(context.Context, T, *zap.Logger) error) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, GroupID: "run",
		RunE: func(*cobra.Command, []string) error {
			if code := service.Execute(name, work); code != 0 {
				return &exitError{code: code}
			}
			return nil
		},
	}
}

func newHealth() *cobra.Command {
	var url string
	cmd := &cobra.Command{
		Use: "health", Short: "Ask a service whether it is ready: exit 0 if it is", GroupID: "run",
		Long: `Asks GET /health/ready of the service on this machine, at HEALTH_ADDR or else
HTTP_ADDR. Made for container health checks.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if url == "" {
				url = "http://" + localAddr()
			}
			return checkHealth(cmd.Context(), url)
		},
	}
	cmd.Flags().StringVar(&url, "url", "", "base URL of the service")
	return cmd
}

// localAddr is where the service on this machine answers. A service that
// listens on every interface is asked on loopback.
func localAddr() string {
	addr := os.Getenv("HEALTH_ADDR")
	if addr == "" {
		addr = os.Getenv("HTTP_ADDR")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "127.0.0.1:8080"
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func checkHealth(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health/ready", nil)
	if err != nil {
		return usage(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return &exitError{exitUnreachable, err}
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", response.Status)
	}
	return nil
}
