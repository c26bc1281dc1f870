package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"sync"
	"syscall"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/redact"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Main is the whole main function of a service. It loads the configuration T, makes
// the logger from its Log block, calls run and exits. The context ends at SIGINT or
// SIGTERM. Exit codes: 0 stopped and drained, 1 failed, 2 invalid configuration,
// with all validation errors on stderr.
//
//	func main() { service.Main("sender", sender.Run) }
func Main[T any](name string, run func(ctx context.Context, cfg T, log *zap.Logger) error) {
	os.Exit(Execute(name, run))
}

// Execute is Main without the exit. It returns the exit code.
func Execute[T any](name string, run func(ctx context.Context, cfg T, log *zap.Logger) error) int {
	TuneMemory()
	ctx, cancel := SignalContext(context.Background())
	defer cancel()
	cfg, warnings, err := settings.Load[T]()
	if err != nil {
		return report(os.Stderr, name, err)
	}
	log := NewLogger(logSettings(reflect.ValueOf(cfg))).Named(name)
	for _, w := range warnings {
		log.Warn(w)
	}
	log.Info("starting", zap.String("version", Version()))
	err = run(ctx, cfg, log)
	var invalid *settings.ValidationErrors
	switch {
	case err == nil || ctx.Err() != nil && onlyCanceled(err):
		log.Info("stopped")
		return 0
	case errors.As(err, &invalid):
		return report(os.Stderr, name, err)
	}
	log.Error("failed", zap.String("error", redact.Text(err.Error())))
	return settings.ExitCode(err)
}

// report writes an error to the terminal. Validation errors are listed one per line
// under a heading.
func report(to io.Writer, name string, err error) int {
	var invalid *settings.ValidationErrors
	if !errors.As(err, &invalid) {
		_, _ = fmt.Fprintf(to, "%s: %s\n", name, redact.Text(err.Error()))
		return settings.ExitCode(err)
	}
	_, _ = fmt.Fprintf(to, "%s: configuration\n", name)
	for _, m := range invalid.All {
		_, _ = fmt.Fprintf(to, "  %s\n", m.Error())
	}
	return settings.ExitCode(err)
}

// SignalContext returns a context that ends at the first SIGINT or SIGTERM. Its
// cause names the signal. A second signal ends the process at once with exit code 1
// and abandons work in flight. The returned function ends the context and stops the
// signal handling.
func SignalContext(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	signals, done := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			cancel(fmt.Errorf("signal: %s", s))
		case <-done:
			return
		}
		select {
		case s := <-signals:
			_, _ = fmt.Fprintf(os.Stderr, "second signal (%s): exiting at once\n", s)
			os.Exit(1)
		case <-done:
		}
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	})
}

// logSettings returns the Log block of a configuration, at any depth, or the
// defaults if there is none.
func logSettings(v reflect.Value) settings.Log {
	if cfg, ok := findLog(v); ok {
		return cfg
	}
	return settings.Log{Level: "info"}
}

func findLog(v reflect.Value) (settings.Log, bool) {
	if cfg, ok := v.Interface().(settings.Log); ok {
		return cfg, true
	}
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && f.Type.Kind() == reflect.Struct {
			if cfg, ok := findLog(v.Field(i)); ok {
				return cfg, true
			}
		}
	}
	return settings.Log{}, false
}

// onlyCanceled reports whether err contains nothing but context cancellation. That
// is not a failure when a signal arrives during the start.
func onlyCanceled(err error) bool {
	switch e := err.(type) { //nolint:errorlint // the tree is walked node by node, so each node's own type counts
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if !onlyCanceled(inner) {
				return false
			}
		}
		return true
	case interface{ Unwrap() error }:
		return onlyCanceled(e.Unwrap())
	}
	return errors.Is(err, context.Canceled)
}
