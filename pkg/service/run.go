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

// ErrReturned is the failure of a component that returned nil although nobody
// had stopped it.
var ErrReturned = errors.New("returned before it was stopped")

// ErrNotStopped is in Wait's error, with the names, when something was still
// running at the end of the shutdown timeout.
var ErrNotStopped = errors.New("not stopped")

// lastCall is what is left for everything below a part that used up the
// shutdown timeout: enough to close a pool that nobody uses.
const lastCall = time.Second

// Group runs the components of a service and stops them in order. What is
// registered is a stack: register in the order in which things depend on each
// other, and the last one, the intake, is stopped first.
//
//	g := service.NewGroup(log, timeout, health)
//	defer g.Stop()                          // undoes a start that fails half-way
//	g.OnStop("postgres", closePool)         // stopped last
//	g.Go("announcer", announcer.Run)
//	g.Go("http", serve)
//	g.OnStop("http", app.ShutdownWithContext) // stopped first: makes serve return
//	return g.Wait(ctx)
//
// A component's turn: its context is cancelled, and it has to finish what it
// has begun and return. A hook's turn: it is called. Either way the next one's
// turn comes when it is done. All share one deadline; what comes after it gets
// a second altogether.
//
// Nothing dies quietly: a component that returns or panics before its turn
// stops the whole group, and Wait says which one and why.
type Group struct {
	log     *zap.Logger
	timeout time.Duration
	health  *Health // may be nil

	mu       sync.Mutex
	stack    []*part
	stopping bool
	cause    error // of the first component that ended before its turn

	ended    chan struct{} // closed when cause is set, or Stop called
	end      func()        // closes ended, once
	drained  chan struct{} // closed when everything is stopped
	outcome  error         // of the drain; read after drained
	reported atomic.Bool   // the outcome has reached somebody
}

// part is a component or a hook.
type part struct {
	name string
	stop func(ctx context.Context) // begins to stop it
	done chan struct{}             // closed when it is stopped
	err  error                     // what came of it; read after done
}

// NewGroup makes an empty group. timeout bounds the drain. health is told when
// the service begins to serve (Wait) and to stop; it may be nil.
func NewGroup(log *zap.Logger, timeout time.Duration, health *Health) *Group {
	g := &Group{log: log, timeout: timeout, health: health, ended: make(chan struct{}), drained: make(chan struct{})}
	g.end = sync.OnceFunc(func() { close(g.ended) })
	return g
}

// Go starts a component. run should work until ctx ends, then finish what it
// has begun and return nil; ctx's error counts as nil, and once the group stops so
// does http.ErrServerClosed. ctx carries nothing and ends at the component's
// turn, not with the process' context; work in flight needs a context of its
// own. After the group was stopped, Go does nothing.
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
		if !errors.Is(err, http.ErrServerClosed) { // how net/http says that Shutdown was called
			p.err = err
		}
	}()
}

// OnStop registers a hook. stop is called once, at its turn, with a context
// that lasts as long as the shutdown timeout; it should end with that context.
// After the group was stopped, OnStop calls nothing: what was opened that late
// is closed by the end of the process.
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

// OnClose is OnStop for what is closed by a plain function, as a pool is.
func (g *Group) OnClose(name string, closeIt func()) {
	g.OnStop(name, func(context.Context) error { closeIt(); return nil })
}

// Wait declares the service to be serving, waits until ctx ends, a component
// ends by itself or Stop is called, stops everything and returns all that went
// wrong: nil after an orderly stop. Errors carry the name of the component or
// hook; ErrReturned and ErrNotStopped can be asked for.
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

// Stop stops everything, in order, and returns when it is done; when it is done
// already, it does nothing. It is meant to be deferred: with errors that no
// Wait returns, it logs. A component must not call it, since it would wait for
// itself.
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

// endedEarly says whether the end of a component is the reason why the group
// stops. While the group is stopping anyway, a component may end before its
// turn: that of an HTTP server is ended by the hook above it.
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

// guard turns a panic into an error, after logging its stack.
func (g *Group) guard(name string, run func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error("panic", zap.String("component", name), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return run()
}

// drain stops everything if nobody has begun to, and returns what came of it.
func (g *Group) drain() error {
	g.mu.Lock()
	first := !g.stopping
	g.stopping = true // from here on, stack and cause stay as they are
	g.mu.Unlock()
	if first {
		g.end()
		g.outcome = g.stopAll()
		close(g.drained)
	}
	<-g.drained
	return g.outcome
}

// stopAll gives each part its turn, the last registered first.
func (g *Group) stopAll() error {
	if g.health != nil {
		g.health.Stopping()
	}
	began := time.Now()
	drain, cancel := context.WithTimeout(context.Background(), g.timeout)
	defer cancel()
	last, cancelLast := context.WithTimeout(context.Background(), g.timeout+lastCall)
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

// end stops the part and waits for it, while ctx lasts; the error is what came of
// the part. A hook that gave up because ctx ended has not stopped what it should
// have.
func (p *part) end(ctx context.Context) (stopped bool, err error) {
	p.stop(ctx)
	select {
	case <-p.done:
	case <-ctx.Done():
		select {
		case <-p.done: // both at once: it did make it
		default:
			return false, nil
		}
	}
	if ctx.Err() != nil && errors.Is(p.err, ctx.Err()) {
		return false, nil
	}
	return true, p.err
}
