package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/message-dispatcher/dispatch/internal/receiver"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
)

func newReceiver() *cobra.Command {
	var addr string
	var quiet bool
	var options receiver.Options
	cmd := &cobra.Command{
		Use: "receiver", Short: "Receive webhooks and show them; it can fail or be slow on demand", GroupID: "run",
		Example: `  dispatch receiver                                 accept everything
  dispatch receiver --fail-first 2 --status 500     every message fails twice
  dispatch receiver --fail-rate 0.1 --delay 200ms   one in ten fails, all are slow`,
	}
	f := cmd.Flags()
	f.StringVar(&addr, "addr", "127.0.0.1:9900", "address to listen on")
	f.IntVar(&options.FailFirst, "fail-first", 0, "number of requests of each message that fail first")
	f.Float64Var(&options.FailRate, "fail-rate", 0, "share of requests that fail, 0 to 1")
	f.IntVar(&options.Status, "status", http.StatusServiceUnavailable, "status of the responses that fail")
	f.DurationVar(&options.Delay, "delay", 0, "delay before each response")
	f.DurationVar(&options.RetryAfter, "retry-after", 0, "Retry-After of the responses that fail")
	f.BoolVar(&quiet, "quiet", false, "show nothing")
	f.BoolVar(&options.JSON, "json", false, "print JSON lines: its address, then each request")
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
		return serveReceiver(cmd, addr, options)
	}
	return cmd
}

func serveReceiver(cmd *cobra.Command, addr string, options receiver.Options) error {
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
