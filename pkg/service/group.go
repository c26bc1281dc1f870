package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// ErrReturned means that a component returned nil before the group stopped it.
var ErrReturned = errors.New("returned before it was stopped")

// ErrNotStopped means that parts were still running at the end of the shutdown
// timeout. The error names them.
var ErrNotStopped = errors.New("not stopped")

// lateGrace is the time that the remaining parts get after one of them has used up
// the shutdown timeout. It is enough to close an idle pool.
const lateGrace = time.Second

// Group runs the components of a service and stops them in order. Its parts form a
// stack: register a dependency before what depends on it. The last part, usually
// the intake, stops first.
//
//	g := service.NewGroup(log, timeout, health)
//	defer g.Stop()                            // cleans up if the start fails halfway
//	g.OnStop("postgres", closePool)           // stopped last
//	g.Go("publisher", publisher.Run)
//	g.Go("http", serve)
//	g.OnStop("http", app.ShutdownWithContext) // stopped first: makes serve return
//	return g.Wait(ctx)
//
// To stop a component, the group cancels its context; the component finishes its
// work in flight and returns. To stop a hook, the group calls it. The next part
// follows when the present one is done. All share one deadline. The parts that
// remain after the deadline share one more second.
//
// If a component returns or panics before it is stopped, the whole group stops, and
// Wait returns the component's name and error.
type Group struct {
	log     *zap.Logger
	timeout time.Duration
	health  *Health // may be nil

	mu       sync.Mutex
	stack    []*part
	stopping bool
	cause    error // error of the first component that ended early

	ended    chan struct{} // closed when cause is set, or Stop called
	end      func()        // closes ended, once
	drained  chan struct{} // closed when everything is stopped
	drainErr error         // result of the drain; read after drained is closed
	reported atomic.Bool   // drainErr was returned or logged
}

// part is a component or a hook.
type part struct {
	name string
	stop func(ctx context.Context) // begins to stop it
	done chan struct{}             // closed when it is stopped
	err  error                     // its result; read after done is closed
}

// NewGroup returns an empty group. timeout limits the drain. The group calls
// health.Serving in Wait and health.Stopping when it stops. health may be nil.
func NewGroup(log *zap.Logger, timeout time.Duration, health *Health) *Group {
	g := &Group{log: log, timeout: timeout, health: health, ended: make(chan struct{}), drained: make(chan struct{})}
	g.end = sync.OnceFunc(func() { close(g.ended) })
	return g
}

// Go starts a component. run should work until ctx ends, then finish its work in
// flight and return nil. ctx's error counts as nil, and so does
// http.ErrServerClosed while the group stops. ctx carries no values. It ends when it
// is the component's turn to stop, not when the process's context ends. Work in
// flight needs its own context. On a stopped group, Go does nothing.
func (g *Group) Go(name string, run func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &part{name: name, stop: func(context.Context) { cancel() }, done: make(chan struct{})}
	if !g.push(p) {
		cancel()
		return
	}
	go func() {
		defer close(p.done)
		err := g.guard(name, func() error { return run(ctx) })
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = nil
		}
		if ctx.Err() == nil && g.endedEarly(name, err) {
			return
		}
		if !errors.Is(err, http.ErrServerClosed) { // what Serve returns after Shutdown
			p.err = err
		}
	}()
}

// OnStop registers a hook. stop is called once, when it is its turn. Its context
// ends with the shutdown timeout, and stop should return then. On a stopped group,
// OnStop does nothing: the end of the process releases the resource.
func (g *Group) OnStop(name string, stop func(ctx context.Context) error) {
	p := &part{name: name, done: make(chan struct{})}
	p.stop = func(ctx context.Context) {
		go func() {
			defer close(p.done)
			p.err = g.guard(name, func() error { return stop(ctx) })
		}()
	}
	g.push(p)
}

// OnClose is OnStop for a plain close function, such as that of a pool.
func (g *Group) OnClose(name string, closeIt func()) {
	g.OnStop(name, func(context.Context) error { closeIt(); return nil })
}

// Wait marks the service as serving. It waits until ctx ends, a component ends by
// itself or Stop is called, then stops all parts. It returns nil after an orderly
// stop, else all errors, each with the name of its part. They wrap ErrReturned and
// ErrNotStopped where those apply.
func (g *Group) Wait(ctx context.Context) error {
	if g.health != nil {
		g.health.Serving()
	}
	select {
	case <-ctx.Done():
		g.log.Info("stopping", zap.String("reason", context.Cause(ctx).Error()))
	case <-g.ended:
	}
	err := g.drain()
	g.reported.Store(true)
	return err
}

// Stop stops all parts in order and returns when they are done. On a stopped group
// it does nothing. It is meant for defer: it logs the errors if no Wait returns
// them. A component must not call it, because it would wait for itself.
func (g *Group) Stop() {
	g.end()
	if err := g.drain(); err != nil && !g.reported.Swap(true) {
		g.log.Error("stopped", zap.Error(err))
	}
}

func (g *Group) push(p *part) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopping {
		return false
	}
	g.stack = append(g.stack, p)
	return true
}

// endedEarly reports whether the end of a component is the reason for the group to
// stop. While the group stops, a component may end before its turn: the hook that
// shuts down an HTTP server also ends its component.
func (g *Group) endedEarly(name string, err error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopping || g.cause != nil {
		return false
	}
	if err == nil {
		err = ErrReturned
	}
	g.cause = fmt.Errorf("%s: %w", name, err)
	g.log.Info("stopping", zap.String("reason", g.cause.Error()))
	g.end()
	return true
}

// guard logs a panic with its stack and returns it as an error.
func (g *Group) guard(name string, run func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error("panic", zap.String("component", name), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return run()
}

// drain stops all parts once and returns the result to every caller.
func (g *Group) drain() error {
	g.mu.Lock()
	first := !g.stopping
	g.stopping = true // stack and cause no longer change
	g.mu.Unlock()
	if first {
		g.end()
		g.drainErr = g.stopAll()
		close(g.drained)
	}
	<-g.drained
	return g.drainErr
}

// stopAll stops the parts one after another, the last registered first.
func (g *Group) stopAll() error {
	if g.health != nil {
		g.health.Stopping()
	}
	began := time.Now()
	drain, cancel := context.WithTimeout(context.Background(), g.timeout)
	defer cancel()
	last, cancelLast := context.WithTimeout(context.Background(), g.timeout+lateGrace)
	defer cancelLast()

	errs := []error{g.cause}
	var late []string
	for _, p := range slices.Backward(g.stack) {
		ctx := drain
		if drain.Err() != nil {
			ctx = last
		}
		stopped, err := p.end(ctx)
		switch {
		case !stopped:
			late = append(late, p.name)
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	if late != nil {
		errs = append(errs, fmt.Errorf("%w within %s: %s", ErrNotStopped, g.timeout, strings.Join(late, ", ")))
	}
	g.log.Debug("drained", zap.Duration("took", time.Since(began)))
	return errors.Join(errs...)
}

// end stops the part and waits until it is done or ctx ends. err is the result of
// the part. A hook that returned because ctx ended has not stopped its resource.
func (p *part) end(ctx context.Context) (stopped bool, err error) {
	p.stop(ctx)
	select {
	case <-p.done:
	case <-ctx.Done():
		select {
		case <-p.done: // both are ready: the part is done in time
		default:
			return false, nil
		}
	}
	if ctx.Err() != nil && errors.Is(p.err, ctx.Err()) {
		return false, nil
	}
	return true, p.err
}
