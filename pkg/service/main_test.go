package service

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// TestMain lets the tests start this binary as a service, because they check the
// signals and exit codes of a real process.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_SERVICE") != "" {
		Main("sample", runSample)
	}
	os.Exit(m.Run())
}

type serviceConfig struct {
	Block struct{ Log settings.Log }
	Does  string `env:"TEST_SERVICE"`
}

func runSample(ctx context.Context, cfg serviceConfig, log *zap.Logger) error {
	g := NewGroup(log, 5*time.Second, nil)
	defer g.Stop()
	switch cfg.Does {
	case "fail":
		return errors.New("no way to postgres://u:geheim@h")
	case "refuse":
		return fmt.Errorf("start: %w", settings.Validate(settings.NATS{}))
	case "start":
		log.Info("ready")
		return WaitFor(ctx, log, "postgres", func(context.Context) error { return errAway })
	case "hang":
		g.OnStop("hanging", func(ctx context.Context) error { log.Info("draining"); <-ctx.Done(); return ctx.Err() })
	case "die":
		g.Go("relay", func(context.Context) error { panic("ouch") })
	}
	log.Info("ready")
	return g.Wait(ctx)
}

func TestMainOfAService(t *testing.T) {
	t.Parallel()
	type step struct {
		line   string // wait until stderr has this
		signal syscall.Signal
	}
	tests := map[string]struct {
		env   []string
		does  string
		steps []step
		code  int
		logs  []string
		never string
	}{
		"drained after SIGTERM": {does: "work", steps: []step{{`"ready"`, syscall.SIGTERM}}, logs: []string{`"reason":"signal: terminated"`, `"msg":"stopped"`, `"logger":"sample"`}},
		"drained after SIGINT":  {does: "work", steps: []step{{`"ready"`, syscall.SIGINT}}, logs: []string{`"reason":"signal: interrupt"`}},
		"stopped while waiting": {does: "start", steps: []step{{"waiting for postgres", syscall.SIGTERM}}, logs: []string{`"msg":"stopped"`}},
		"a second signal":       {does: "hang", steps: []step{{`"ready"`, syscall.SIGTERM}, {"draining", syscall.SIGINT}}, code: 1, logs: []string{"second signal (interrupt): exiting at once"}, never: "not stopped"},
		"failed":                {does: "fail", code: 1, logs: []string{`"level":"error"`, "no way to postgres://***@h"}},
		"a component panicked":  {does: "die", code: 1, logs: []string{`"error":"relay: panic: ouch"`}},
		"wrong configuration":   {does: "work", env: []string{"LOG_LEVEL=loud", "LOG_FORMAT=xml"}, code: 2, logs: []string{"sample: configuration\n  LOG_LEVEL=\"loud\": must be debug, info, warn or error\n  LOG_FORMAT=\"xml\": must be json or console\n"}},
		"refused by the run":    {does: "refuse", code: 2, logs: []string{"sample: configuration\n  NATS_URL"}},
		"a warning":             {does: "fail", env: []string{"DISPATCH_LOG_LEVEL=debug"}, code: 1, logs: []string{"did you mean LOG_LEVEL?"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Dir = t.TempDir()
			cmd.Env = append([]string{"TEST_SERVICE=" + tt.does}, tt.env...)
			stderr, err := cmd.StderrPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())

			var output strings.Builder
			steps := tt.steps
			for in := bufio.NewScanner(stderr); in.Scan(); {
				output.WriteString(in.Text() + "\n")
				if len(steps) > 0 && strings.Contains(in.Text(), steps[0].line) {
					require.NoError(t, cmd.Process.Signal(steps[0].signal))
					steps = steps[1:]
				}
			}
			_ = cmd.Wait() // the exit code is checked instead
			assert.Equal(t, tt.code, cmd.ProcessState.ExitCode(), output.String())
			for _, want := range tt.logs {
				assert.Contains(t, output.String(), want)
			}
			assert.NotContains(t, output.String(), "geheim")
			if tt.never != "" {
				assert.NotContains(t, output.String(), tt.never)
			}
		})
	}
}

func TestDotEnvIsRead(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile(".env", []byte("LOG_LEVEL=debug\nLOG_FORMAT=json\n"), 0o600))
	t.Setenv("LOG_FORMAT", "console")
	cfg, warnings, err := settings.Load[settings.Log]()
	require.NoError(t, err)
	assert.Empty(t, warnings)
	assert.Equal(t, settings.Log{Level: "debug", Format: "console"}, cfg)
}

func TestOnlyCanceled(t *testing.T) {
	t.Parallel()
	other := errors.New("x")
	assert.True(t, onlyCanceled(errors.Join(context.Canceled, fmt.Errorf("a: %w", context.Canceled))))
	assert.False(t, onlyCanceled(errors.Join(context.Canceled, other)))
	assert.False(t, onlyCanceled(fmt.Errorf("a: %w", other)))
}

func TestSignalContextEndsWithItsParent(t *testing.T) {
	t.Parallel()
	parent, cancelParent := context.WithCancel(t.Context())
	ctx, cancel := SignalContext(parent)
	cancelParent()
	<-ctx.Done()
	cancel()
	cancel()
}
