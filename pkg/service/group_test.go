package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// recorder records events in order.
type recorder struct {
	mu    sync.Mutex
	notes []string
}

func (d *recorder) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

func (d *recorder) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.notes)
}

// worker returns a component that works until it is stopped and then needs a while
// to finish.
func (d *recorder) worker(name string, needs time.Duration) (string, func(context.Context) error) {
	return name, func(ctx context.Context) error {
		<-ctx.Done()
		d.note("%s: stopping", name)
		time.Sleep(needs) // the fake clock's
		d.note("%s: finished", name)
		return ctx.Err()
	}
}

func (d *recorder) hook(name string) (string, func(context.Context) error) {
	return name, func(context.Context) error { d.note("%s: closed", name); return nil }
}

var errBroken = errors.New("broken")

func observed() (*zap.Logger, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	return zap.New(core), logs
}

func TestGroupStopsTheLastFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		log, logs := observed()
		d, health := &recorder{}, NewHealth()
		g := NewGroup(log, 10*time.Second, health)
		g.OnClose("postgres", func() { d.note("postgres: closed") })
		g.Go(d.worker("publisher", time.Second))
		g.Go(d.worker("intake", 2*time.Second))
		g.OnStop(d.hook("http"))

		ended := make(chan error)
		go func() { ended <- g.Wait(ctx) }()
		synctest.Wait()
		assert.Equal(t, StateOK, health.Report().State)
		assert.Empty(t, d.all())
		cancel()
		synctest.Wait()
		assert.Equal(t, StateDown, health.Report().State, "no new work while it drains")
		require.NoError(t, <-ended)
		want := []string{
			"http: closed",
			"intake: stopping", "intake: finished",
			"publisher: stopping", "publisher: finished",
			"postgres: closed",
		}
		assert.Equal(t, want, d.all())
		assert.Equal(t, 1, logs.FilterMessage("stopping").Len())

		g.Stop()
		assert.NoError(t, g.Wait(ctx), "a second stop does nothing")
		assert.Equal(t, want, d.all())
	})
}

func TestAComponentThatEndsEarlyStopsTheGroup(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		run  func(context.Context) error
		want string
		is   error
	}{
		"an error":         {func(context.Context) error { return errBroken }, "relay: broken", errBroken},
		"no error":         {func(context.Context) error { return nil }, "relay: returned before it was stopped", ErrReturned},
		"a foreign cancel": {func(context.Context) error { return context.Canceled }, "relay: context canceled", context.Canceled},
		"a panic":          {func(context.Context) error { panic("ouch") }, "relay: panic: ouch", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log, logs := observed()
				d := &recorder{}
				g := NewGroup(log, 10*time.Second, nil)
				g.OnStop(d.hook("postgres"))
				g.Go(d.worker("ticker", time.Second))
				g.Go("relay", tt.run)
				err := g.Wait(t.Context())
				assert.EqualError(t, err, tt.want)
				if tt.is != nil {
					assert.ErrorIs(t, err, tt.is)
				}
				assert.Equal(t, []string{"ticker: stopping", "ticker: finished", "postgres: closed"}, d.all(), "the other parts drain as usual")
				stopping := logs.FilterMessage("stopping").All()
				require.Len(t, stopping, 1)
				assert.Equal(t, tt.want, stopping[0].ContextMap()["reason"], "logged at once, not after the drain")
				panics := logs.FilterMessage("panic").All()
				if name != "a panic" {
					assert.Empty(t, panics)
					return
				}
				require.Len(t, panics, 1)
				assert.Contains(t, panics[0].ContextMap()["stack"], "group_test.go")
			})
		})
	}
}

func TestEndingWhileStoppingIsNoFailure(t *testing.T) {
	t.Parallel()
	log, logs := observed()
	ctx, cancel := context.WithCancel(t.Context())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{ReadHeaderTimeout: time.Second}
	g := NewGroup(log, 10*time.Second, nil)
	g.Go("http", func(context.Context) error { return server.Serve(listener) })
	g.OnStop("http", server.Shutdown)
	cancel()
	assert.NoError(t, g.Wait(ctx))
	assert.Equal(t, 1, logs.FilterMessage("stopping").Len())
}

func TestFailingWhileStopping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, logs := observed()
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		g := NewGroup(log, 10*time.Second, nil)
		g.Go("http", func(context.Context) error { <-stopped; return errBroken })
		g.OnStop("http", func(context.Context) error { close(stopped); synctest.Wait(); return nil })
		cancel()
		assert.EqualError(t, g.Wait(ctx), "http: broken")
		assert.Equal(t, 1, logs.FilterMessage("stopping").Len(), "its failure is not the reason")
	})
}

func TestAllErrorsOfTheStopAreReturned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, _ := observed()
		ctx, cancel := context.WithCancel(t.Context())
		g := NewGroup(log, 10*time.Second, nil)
		g.OnStop("postgres", func(context.Context) error { return errBroken })
		g.OnStop("nats", func(context.Context) error { panic("ouch") })
		g.Go("relay", func(ctx context.Context) error { <-ctx.Done(); return errors.New("unsent") })
		cancel()
		assert.EqualError(t, g.Wait(ctx), lines("relay: unsent", "nats: panic: ouch", "postgres: broken"))
	})
}

func TestShutdownTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, _ := observed()
		release := make(chan struct{})
		defer close(release)
		d := &recorder{}
		ctx, cancel := context.WithCancel(t.Context())
		g := NewGroup(log, 10*time.Second, nil)
		g.OnClose("postgres", func() { <-release })
		g.OnStop(d.hook("nats"))
		g.Go(d.worker("publisher", 100*time.Millisecond))
		g.Go("relay", func(context.Context) error { <-release; return nil })
		g.OnStop("http", func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			d.note("http: has %s", time.Until(deadline))
			return nil
		})
		cancel()
		began := time.Now()
		err := g.Wait(ctx)
		assert.EqualError(t, err, "not stopped within 10s: relay, postgres")
		assert.ErrorIs(t, err, ErrNotStopped)
		assert.Equal(t, 11*time.Second, time.Since(began), "the parts after relay share one second")
		assert.Equal(t, []string{"http: has 10s", "publisher: stopping", "publisher: finished", "nats: closed"}, d.all())
	})
}

func TestAHookThatGivesUpHasNotStopped(t *testing.T) {
	t.Parallel()
	t.Run("even if it is done just in time", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		p := &part{stop: func(context.Context) {}, done: make(chan struct{}), err: fmt.Errorf("shut down: %w", context.DeadlineExceeded)}
		close(p.done)
		stopped, err := p.end(ctx)
		assert.False(t, stopped)
		assert.NoError(t, err)
	})
	synctest.Test(t, func(t *testing.T) {
		log, _ := observed()
		ctx, cancel := context.WithCancel(t.Context())
		g := NewGroup(log, time.Second, nil)
		g.OnStop("http", func(ctx context.Context) error {
			<-ctx.Done()
			return fmt.Errorf("shut down: %w", ctx.Err())
		})
		cancel()
		assert.EqualError(t, g.Wait(ctx), "not stopped within 1s: http")
	})
}

func TestAStartThatFailsIsUndone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, logs := observed()
		d := &recorder{}
		run := func() error {
			g := NewGroup(log, 10*time.Second, nil)
			defer g.Stop()
			g.OnStop(d.hook("postgres"))
			g.OnStop("nats", func(context.Context) error { return errBroken })
			g.Go(d.worker("ticker", time.Second))
			return errors.New("no schema")
		}
		assert.EqualError(t, run(), "no schema")
		assert.Equal(t, []string{"ticker: stopping", "ticker: finished", "postgres: closed"}, d.all())
		assert.Equal(t, 1, logs.FilterMessage("stopped").FilterLevelExact(zapcore.ErrorLevel).Len(), "otherwise the error of nats would be lost")
	})
}

func TestStopEndsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, logs := observed()
		d := &recorder{}
		g := NewGroup(log, 10*time.Second, nil)
		g.Go(d.worker("ticker", time.Second))
		var stops sync.WaitGroup
		for range 3 {
			stops.Go(g.Stop)
		}
		assert.NoError(t, g.Wait(t.Context()))
		stops.Wait()
		g.Go("late", func(context.Context) error { d.note("late"); return nil })
		g.OnStop(d.hook("late"))
		synctest.Wait()
		assert.Equal(t, []string{"ticker: stopping", "ticker: finished"}, d.all())
		assert.Zero(t, logs.FilterLevelExact(zapcore.ErrorLevel).Len())
	})
}

func lines(text ...string) string { return strings.Join(text, "\n") }
