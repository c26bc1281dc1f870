package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
	"github.com/message-dispatcher/dispatch/internal/receiver"
)

func newSink() *cobra.Command {
	var addr string
	var quiet bool
	var options receiver.Options
	cmd := &cobra.Command{
		Use: "sink", Short: "Receive webhooks and show them; can be told to fail or be slow", GroupID: "run",
		Example: `  dispatch sink                                   accept everything
  dispatch sink --fail-first 2 --status 500       every message fails twice
  dispatch sink --fail-rate 0.1 --delay 200ms     one in ten fails, all are slow`,
	}
	f := cmd.Flags()
	f.StringVar(&addr, "addr", "127.0.0.1:9900", "where to listen")
	f.IntVar(&options.FailFirst, "fail-first", 0, "so many first requests of each message fail")
	f.Float64Var(&options.FailRate, "fail-rate", 0, "share of requests that fail, 0 to 1")
	f.IntVar(&options.Status, "status", http.StatusServiceUnavailable, "what a failing request is answered with")
	f.DurationVar(&options.Delay, "delay", 0, "wait before each answer")
	f.DurationVar(&options.RetryAfter, "retry-after", 0, "sent with failing answers")
	f.BoolVar(&quiet, "quiet", false, "show nothing")
	f.BoolVar(&options.JSON, "json", false, "print JSON lines: where it listens, then each request")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if options.FailRate < 0 || options.FailRate > 1 {
			return exit.Usage(errors.New("--fail-rate must be from 0 to 1"))
		}
		if options.Status < 300 || options.Status > 599 {
			return exit.Usage(errors.New("--status must be from 300 to 599"))
		}
		if !quiet {
			options.Out = cmd.OutOrStdout()
		}
		return serveSink(cmd, addr, options)
	}
	return cmd
}

func serveSink(cmd *cobra.Command, addr string, options receiver.Options) error {
	ctx := cmd.Context()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on --addr %s: %w", addr, err)
	}
	server := &http.Server{Handler: receiver.New(options), ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(bounded)
	}()
	address := "http://" + listener.Addr().String()
	if options.JSON {
		if err := output.JSON(cmd.OutOrStdout(), map[string]string{"listening": address}, ""); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(cmd.OutOrStdout(), "Receiving webhooks on "+address)
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped
	return nil
}
