package cli

import (
	"context"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/provision"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher"
	"github.com/message-dispatcher/dispatch/services/ingest"
	"github.com/message-dispatcher/dispatch/services/sender"
)

func newIngest() *cobra.Command {
	cmd := serviceCommand("ingest", "Accept messages over HTTP and NATS, and serve their status", ingest.Run)
	cmd.Example = `  DATABASE_URL=postgres://… NATS_URL=nats://… API_KEYS=shop:key HTTP_ADDR=:8080 dispatch ingest`
	return cmd
}

func newDispatcher() *cobra.Command {
	cmd := serviceCommand("dispatcher", "Emit messages at their pace, and record their outcomes", dispatcher.Run)
	cmd.Example = `  DATABASE_URL=postgres://… NATS_URL=nats://… HEALTH_ADDR=:8081 dispatch dispatcher`
	return cmd
}

func newSender() *cobra.Command {
	cmd := serviceCommand("sender", "Deliver emitted messages to the webhook", sender.Run)
	cmd.Example = `  DATABASE_URL=postgres://… NATS_URL=nats://… WEBHOOK_URL=https://… dispatch sender`
	return cmd
}

func newProvision() *cobra.Command {
	cmd := serviceCommand("provision", "Bring the schema, the streams and the schedule up to date",
		func(ctx context.Context, cfg provision.Config, log *zap.Logger) error {
			if err := provision.Run(ctx, cfg, log); err != nil {
				return err
			}
			log.Info("provisioned")
			return nil
		})
	cmd.Long = `Brings the schema in Postgres, the streams and consumers in NATS and the schedule
up to date. Run it before the services, and after each upgrade. It is safe to run
at any time. PROCESSING_INTERVAL and BATCH_SIZE are applied only if they differ
from what was applied last. A pace that was set later by "dispatch configure" or
PATCH /api/v1/messaging therefore survives a restart.`
	cmd.Example = `  DATABASE_URL=postgres://… NATS_URL=nats://… NATS_REPLICAS=3 dispatch provision`
	return cmd
}

// serviceCommand runs a service, which reads its configuration from the environment alone.
func serviceCommand[T any](name, short string, work func(context.Context, T, *zap.Logger) error) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, GroupID: "run",
		RunE: func(*cobra.Command, []string) error {
			if code := service.Execute(name, work); code != 0 {
				return exit.Silent(code)
			}
			return nil
		},
	}
}
