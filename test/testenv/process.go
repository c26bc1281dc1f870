package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
)

// server is a running process: a child, or one that pkg/embedded supervises.
type server interface {
	Pid() int
	Done() <-chan struct{}
	Stop(context.Context) error
}

// Process is one process of an installation. It can be killed, frozen, ended and
// started again as often as wanted, on the same data and under the same
// address. All methods may be called concurrently.
type Process struct {
	Name   string // such as sender-2
	URL    string // of its health routes, and of ingest's API; empty for servers
	Output *embeddedtest.Output

	t      testing.TB
	launch func(context.Context) (server, error)

	mu        sync.Mutex
	running   server // nil before the first start and after an end
	frozen    bool
	shouldRun bool // its end would be an error
	exitErr   error
}

func newProcess(t testing.TB, name string, output *embeddedtest.Output, launch func(context.Context) (server, error)) *Process {
	p := &Process{Name: name, Output: output, t: t, launch: launch}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.Output.Tail(60))
		}
	})
	return p
}

// Start starts it, unless it runs. When Start returns, a server answers. For a
// service, call WaitReady too.
func (p *Process) Start() *Process {
	p.t.Helper()
	if err := p.TryStart(); err != nil {
		p.t.Fatalf("start %s: %v\n%s", p.Name, err, p.Output.Tail(60))
	}
	return p
}

// TryStart is Start for a goroutine that may not end the test.
func (p *Process) TryStart() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*WaitTimeout)
	defer cancel()
	running, err := p.launch(ctx)
	if err != nil {
		return err
	}
	p.running, p.frozen, p.shouldRun = running, false, true
	go p.watch(running)
	return nil
}

// watch notes an end that no test asked for.
func (p *Process) watch(running server) {
	<-running.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == running && p.shouldRun {
		p.exitErr = fmt.Errorf("%s ended by itself:\n%s", p.Name, p.Output.Tail(30))
	}
}

// Err returns an end that no test asked for; nil if there was none.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exitErr
}

// WaitReady waits until the service answers that it is ready.
func (p *Process) WaitReady() *Process {
	p.t.Helper()
	deadline := time.Now().Add(WaitTimeout)
	for !p.IsReady() {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is not ready:\n%s", p.Name, p.Output.Tail(60))
		}
		<-time.After(10 * time.Millisecond)
	}
	return p
}

var healthClient = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// IsReady asks the service once.
func (p *Process) IsReady() bool {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.URL+"/health/ready", http.NoBody)
	if err != nil {
		return false
	}
	response, err := healthClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Addr is the host:port of its URL.
func (p *Process) Addr() string { return strings.TrimPrefix(p.URL, "http://") }

// Pid returns the process number, 0 when it does not run.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return 0
	}
	return p.running.Pid()
}

// Running reports whether it was started and not ended since. A frozen one runs.
func (p *Process) Running() bool { return p.Pid() != 0 }

// Kill is kill -9, and waits for the end. A frozen process ends too.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return
	}
	p.shouldRun = false
	signalTree(p.running.Pid(), syscall.SIGKILL)
	<-p.running.Done()
	_ = p.running.Stop(context.Background()) // gives its directory free
	p.running = nil
}

// Terminate asks it to end and waits. The error describes an end that was not
// clean: one that took longer than WaitTimeout, or an exit code other than 0.
func (p *Process) Terminate() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return nil
	}
	p.shouldRun = false
	if p.frozen {
		signalTree(p.running.Pid(), syscall.SIGCONT)
		p.frozen = false
	}
	ctx, cancel := context.WithTimeout(context.Background(), WaitTimeout)
	defer cancel()
	err := p.running.Stop(ctx)
	<-p.running.Done()
	if coded, ok := p.running.(interface{ ExitCode() int }); ok && coded.ExitCode() != 0 {
		err = errors.Join(err, fmt.Errorf("exit code %d", coded.ExitCode()))
	}
	p.running = nil
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", p.Name, err, p.Output.Tail(30))
	}
	return nil
}

// Freeze suspends it and its children (SIGSTOP), as a machine that hangs does.
func (p *Process) Freeze() { p.freeze(true, syscall.SIGSTOP) }

// Thaw resumes it.
func (p *Process) Thaw() { p.freeze(false, syscall.SIGCONT) }

func (p *Process) freeze(frozen bool, signal syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil || p.frozen == frozen {
		return
	}
	signalTree(p.running.Pid(), signal)
	p.frozen = frozen
}

// Signal sends any signal to the process alone.
func (p *Process) Signal(signal syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return fmt.Errorf("%s does not run", p.Name)
	}
	p.shouldRun = false
	return syscall.Kill(p.running.Pid(), signal)
}

// Wait waits for an end that it comes to by itself or by a signal, and
// returns the exit code, -1 after a signal that killed it.
func (p *Process) Wait() int {
	p.mu.Lock()
	running := p.running
	p.shouldRun = false
	p.mu.Unlock()
	<-running.Done()
	if coded, ok := running.(interface{ ExitCode() int }); ok {
		return coded.ExitCode()
	}
	return -1
}

// Exited says whether the process is gone, for whatever reason.
func (p *Process) Exited() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return true
	}
	select {
	case <-p.running.Done():
		return true
	default:
		return false
	}
}

// signalTree signals a process and all below it: Postgres' backends lead
// process groups of their own. They are looked up twice: a killed parent has
// none any more, and one that is about to be stopped may still start some.
func signalTree(pid int, signal syscall.Signal) {
	below := children(pid)
	_ = syscall.Kill(pid, signal) // one that has just ended needs none, here and below
	for _, child := range append(below, children(pid)...) {
		_ = syscall.Kill(child, signal)
	}
}

func children(pid int) []int {
	parent, err := process.NewProcess(int32(pid))
	if err != nil {
		return nil
	}
	list, _ := parent.Children() // none is an error here
	pids := make([]int, len(list))
	for i, child := range list {
		pids[i] = int(child.Pid)
	}
	return pids
}
