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

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/shirou/gopsutil/v4/process"
)

// server is what runs: a child process, or one that pkg/embedded looks after.
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
	shouldRun bool // an end of its own would be a surprise
	exitErr   error
}

func newProcess(t testing.TB, name string, output *embeddedtest.Output, launch func(context.Context) (server, error)) *Process {
	u := &Process{Name: name, Output: output, t: t, launch: launch}
	t.Cleanup(func() {
		u.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, u.Output.Tail(60))
		}
	})
	return u
}

// Start starts it, unless it runs. Servers answer when Start returns; for a
// service that is what Ready waits for.
func (u *Process) Start() *Process {
	u.t.Helper()
	if err := u.TryStart(); err != nil {
		u.t.Fatalf("start %s: %v\n%s", u.Name, err, u.Output.Tail(60))
	}
	return u
}

// TryStart is Start for those who can't end the test.
func (u *Process) TryStart() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*WaitTimeout)
	defer cancel()
	running, err := u.launch(ctx)
	if err != nil {
		return err
	}
	u.running, u.frozen, u.shouldRun = running, false, true
	go u.watch(running)
	return nil
}

// watch notes an end that nobody asked for.
func (u *Process) watch(running server) {
	<-running.Done()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running == running && u.shouldRun {
		u.exitErr = fmt.Errorf("%s ended by itself:\n%s", u.Name, u.Output.Tail(30))
	}
}

// Err tells of an end that nobody asked for; nil if there was none.
func (u *Process) Err() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.exitErr
}

// WaitReady waits until the service answers that it is ready.
func (u *Process) WaitReady() *Process {
	u.t.Helper()
	deadline := time.Now().Add(WaitTimeout)
	for !u.IsReady() {
		if time.Now().After(deadline) {
			u.t.Fatalf("%s is not ready:\n%s", u.Name, u.Output.Tail(60))
		}
		<-time.After(10 * time.Millisecond)
	}
	return u
}

var healthClient = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// IsReady asks the service once.
func (u *Process) IsReady() bool {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, u.URL+"/health/ready", http.NoBody)
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
func (u *Process) Addr() string { return strings.TrimPrefix(u.URL, "http://") }

// Pid returns the process number, 0 when it does not run.
func (u *Process) Pid() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running == nil {
		return 0
	}
	return u.running.Pid()
}

// Running says whether it was started and not ended since; a frozen one runs.
func (u *Process) Running() bool { return u.Pid() != 0 }

// Kill is kill -9, and waits for the end. Also what is frozen ends.
func (u *Process) Kill() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running == nil {
		return
	}
	u.shouldRun = false
	signalTree(u.running.Pid(), syscall.SIGKILL)
	<-u.running.Done()
	_ = u.running.Stop(context.Background()) // gives its directory free
	u.running = nil
}

// Terminate asks it to end and waits. The error tells of an end that was not
// clean: one that took longer than Patience, or an exit code other than 0.
func (u *Process) Terminate() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running == nil {
		return nil
	}
	u.shouldRun = false
	if u.frozen {
		signalTree(u.running.Pid(), syscall.SIGCONT)
		u.frozen = false
	}
	ctx, cancel := context.WithTimeout(context.Background(), WaitTimeout)
	defer cancel()
	err := u.running.Stop(ctx)
	<-u.running.Done()
	if coded, ok := u.running.(interface{ ExitCode() int }); ok && coded.ExitCode() != 0 {
		err = errors.Join(err, fmt.Errorf("exit code %d", coded.ExitCode()))
	}
	u.running = nil
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", u.Name, err, u.Output.Tail(30))
	}
	return nil
}

// Freeze stops it where it is, its own children too, as if the machine had
// lost interest in it.
func (u *Process) Freeze() { u.freeze(true, syscall.SIGSTOP) }

// Thaw lets it go on.
func (u *Process) Thaw() { u.freeze(false, syscall.SIGCONT) }

func (u *Process) freeze(frozen bool, signal syscall.Signal) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running == nil || u.frozen == frozen {
		return
	}
	signalTree(u.running.Pid(), signal)
	u.frozen = frozen
}

// Signal sends any signal to the process alone.
func (u *Process) Signal(signal syscall.Signal) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running == nil {
		return fmt.Errorf("%s does not run", u.Name)
	}
	u.shouldRun = false
	return syscall.Kill(u.running.Pid(), signal)
}

// Wait waits for an end that it comes to by itself or by a signal, and
// returns the exit code, -1 after a signal that killed it.
func (u *Process) Wait() int {
	u.mu.Lock()
	running := u.running
	u.shouldRun = false
	u.mu.Unlock()
	<-running.Done()
	if coded, ok := running.(interface{ ExitCode() int }); ok {
		return coded.ExitCode()
	}
	return -1
}

// Exited says whether the process is gone, for whatever reason.
func (u *Process) Exited() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running == nil {
		return true
	}
	select {
	case <-u.running.Done():
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
