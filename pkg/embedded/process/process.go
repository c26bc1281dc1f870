package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// DefaultGrace is how long a child may take to end after Config.Signal.
	DefaultGrace = 10 * time.Second
	// outputDelay limits the wait for output that a grandchild still holds open.
	outputDelay = time.Second
	shell       = "/bin/sh"
)

// ErrExited means that a child ended without a call of Stop or Kill.
var ErrExited = errors.New("exited by itself")

// Config says what to run and how to end it.
type Config struct {
	// Path is the program, absolute or relative to the working directory. PATH is not
	// searched.
	Path string
	// Args are its arguments, without the program's name.
	Args []string
	// Env is the whole environment. Nothing of ours is inherited, which keeps secrets
	// out.
	Env []string
	// Dir is its working directory. Empty means the root directory.
	Dir string
	// Output receives stdout and stderr. Nil discards them. After our death a child
	// can still write to an *os.File; writes to any other writer fail.
	Output io.Writer
	// Credential is the user that the child runs as. Nil means our own user.
	Credential *syscall.Credential
	// Mark is a file that the child keeps open as descriptor 4 until it ends. A lock
	// on it shows a later process whether the child and its children are gone.
	Mark *os.File
	// BeforeRun is called with the process id before the program is executed. If it
	// returns an error, the program does not run. May be nil.
	BeforeRun func(pid int) error
	// Signal asks the child to end. Zero means SIGTERM.
	Signal syscall.Signal
	// Grace is how long the child may take to end after Signal. Then Stop or the
	// watcher kills it. Zero means DefaultGrace.
	Grace time.Duration
}

// Process is a running child. All methods are safe for concurrent use.
type Process struct {
	name     string
	cmd      *exec.Cmd
	signal   syscall.Signal
	grace    time.Duration
	watcher  *watcher
	stopping atomic.Bool
	stopOnce sync.Once
	done     chan struct{}
	err      error // written before done is closed
}

// Start runs the program. It returns an error if the program does not exist or we
// may not execute it. Later failures show in Done and Err. Descriptors 3 to 9, which
// a shell or make may have left open, are closed in the child.
func Start(cfg Config) (*Process, error) {
	name := filepath.Base(cfg.Path)
	if _, err := exec.LookPath(cfg.Path); err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	if cfg.Signal == 0 {
		cfg.Signal = syscall.SIGTERM
	}
	if cfg.Grace <= 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.Dir == "" {
		cfg.Dir = "/"
	}
	gateRead, gate, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	defer func() { _ = gateRead.Close(); _ = gate.Close() }()

	cmd := exec.Command(shell, append([]string{"-c", gateScript(cfg.Mark != nil), name, cfg.Path}, cfg.Args...)...)
	cmd.Env = append([]string{}, cfg.Env...)
	cmd.Dir = cfg.Dir
	cmd.Stdout, cmd.Stderr = cfg.Output, cfg.Output
	cmd.ExtraFiles = []*os.File{gateRead}
	if cfg.Mark != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, cfg.Mark)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: cfg.Credential}
	cmd.WaitDelay = outputDelay
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	p := &Process{
		name: name, cmd: cmd, signal: cfg.Signal, grace: cfg.Grace, done: make(chan struct{}),
	}
	if cfg.BeforeRun != nil {
		err = cfg.BeforeRun(p.Pid())
	}
	if err == nil {
		p.watcher, err = watch(p.Pid(), cfg.Signal, cfg.Grace)
	}
	if err != nil {
		_ = gate.Close() // the child reads the end of file and exits
		_ = cmd.Wait()
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	// A write fails only if the child is gone already, which wait reports.
	_, _ = gate.WriteString("go\n")
	go p.wait()
	return p, nil
}

// wait reaps the child and dismisses the watcher at once, because from now on another
// process may get the same id.
func (p *Process) wait() {
	err := p.cmd.Wait()
	p.watcher.dismiss()
	switch {
	case p.stopping.Load():
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		p.err = fmt.Errorf("%s %w: exit status 0", p.name, ErrExited)
	default:
		p.err = fmt.Errorf("%s %w: %w", p.name, ErrExited, err)
	}
	close(p.done)
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended and was reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns nil while the child runs and after Stop or Kill, else an error that
// wraps ErrExited.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// ExitCode returns the program's exit status once Done is closed. It is -1 before,
// and after a signal.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Stop signals the child and waits until it has ended and was reaped. If the grace is
// over or ctx ends, it kills the child and its process group and returns an error.
// No child is ever left behind. A repeated call waits for the same end.
func (p *Process) Stop(ctx context.Context) error {
	p.stopOnce.Do(func() {
		p.stopping.Store(true)
		_ = p.cmd.Process.Signal(p.signal)
	})
	grace := time.NewTimer(p.grace)
	defer grace.Stop()
	select {
	case <-p.done:
		return nil
	case <-grace.C:
	case <-ctx.Done():
	}
	p.kill()
	<-p.done
	return fmt.Errorf("stop %s: killed, as it did not end in time", p.name)
}

// Kill kills the child and its process group and waits until it was reaped.
func (p *Process) Kill() {
	p.stopping.Store(true)
	p.kill()
	<-p.done
}

// kill uses os.Process first, which knows whether the child was reaped. Only an
// unreaped child certainly still owns the id of its group.
func (p *Process) kill() {
	if p.cmd.Process.Kill() == nil {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
}
