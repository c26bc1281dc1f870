package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
	"github.com/message-dispatcher/dispatch/internal/up"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

func newUp() *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "up", Short: "Run everything in one process, without any setup", GroupID: "run",
		Long: `Runs all three services in this process. Servers that DATABASE_URL, NATS_URL and
REDIS_URL do not name are started too: NATS in the process, a private PostgreSQL
and a private Redis. Their data survives a restart. Without WEBHOOK_URL a built-in
receiver shows what would be delivered. Ctrl-C drains and stops everything.`,
		Example: `  dispatch up
  PROCESSING_INTERVAL=2s BATCH_SIZE=10 dispatch up
  WEBHOOK_URL=https://example.com/hook dispatch up --data /srv/dispatch`,
	}
	cmd.Flags().StringVar(&dir, "data", defaultDir(), "data directory of the embedded servers")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one line of JSON with all addresses, once everything is ready")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := settings.LoadWith(func(e settings.Environment) (up.Config, error) {
			return up.Parse(e, dir)
		})
		if err != nil {
			return err
		}
		cfg, environment := loaded.Config, loaded.Environment
		logConfig := cfg.Ingest.Log
		if environment["LOG_LEVEL"] == "" {
			logConfig.Level = "warn" // the terminal is for messages, not for the services' logs
		}
		service.TuneMemory()
		log := service.NewLogger(logConfig)
		for _, warning := range append(loaded.Warnings, settings.Warnings(environment, &cfg)...) {
			log.Warn(warning)
		}
		out := cmd.OutOrStdout()
		if asJSON {
			return up.Run(cmd.Context(), cfg, log, nil, func(at up.Addresses) { _ = output.JSON(out, at, "") })
		}
		fmt.Fprintf(out, "Message Dispatcher %s is starting (data in %s)\n", service.Version(), dir)
		err = up.Run(cmd.Context(), cfg, log, out, func(at up.Addresses) {
			welcome(cmd, out, at, environment[settings.EnvAPIKey])
		})
		if err == nil {
			fmt.Fprintln(out, "Stopped. All accepted messages are kept for the next start.")
		}
		return err
	}
	return cmd
}

func defaultDir() string {
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "message-dispatcher")
	}
	if os.Geteuid() == 0 {
		return "/var/lib/message-dispatcher" // PostgreSQL's user can't enter root's home directory
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "data"
	}
	return filepath.Join(home, ".local", "share", "message-dispatcher")
}

// welcome prints the addresses, the pace, and a first command to try.
func welcome(cmd *cobra.Command, out io.Writer, at up.Addresses, key string) {
	line := func(name, value string, own bool, note string) {
		if own {
			value += "  " + note
		}
		fmt.Fprintf(out, "  %-11s%s\n", name, value)
	}
	fmt.Fprintln(out, "Ready.")
	line("API", at.API, false, "")
	line("NATS", at.NATS, at.OwnNATS, "(embedded)")
	line("Postgres", at.Postgres, at.OwnPostgres, "(embedded)")
	if at.Redis == "" {
		line("Redis", "none", at.OwnRedis, "(not installed, and not needed)")
	} else {
		line("Redis", at.Redis, at.OwnRedis, "(embedded)")
	}
	line("Webhook", at.Webhook, at.OwnWebhook, "(built in: shows what arrives; WEBHOOK_URL sets yours)")

	api := client.New(at.API, key)
	var overview message.Overview
	if err := api.Get(cmd.Context(), "/api/v1/messaging/status", &overview); err == nil {
		line("Pace", pace(overview), false, "")
		if overview.Interval > message.Duration(2*time.Second) {
			line("", "faster: PROCESSING_INTERVAL=2s BATCH_SIZE=10, or PROCESSING_INTERVAL=0 for as fast as possible", false, "")
		}
	}
	fmt.Fprintf(out, `
Try: curl -s %s/api/v1/messages -H 'Content-Type: application/json' -d '{"to":"+905551111111","content":"hello"}'

`, at.API)
}
