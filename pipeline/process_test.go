package pipeline_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/local/child"
)

// built is the program as a user has it, built once for all tests; the
// directory goes with the test process.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dispatch-test-")
	if err != nil {
		return "", err
	}
	if _, err := child.RemoveAtDeath(dir); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "dispatch")
	build := exec.Command("go", "build", "-o", binary, "github.com/message-dispatcher/dispatch/cmd/dispatch")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build dispatch: %w\n%s", err, out)
	}
	return binary, nil
})

// program returns the path of bin/dispatch.
func program(t testing.TB) string {
	t.Helper()
	binary, err := built()
	require.NoError(t, err)
	return binary
}

// output gathers what a process prints. It is safe for concurrent use.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// process is a service as a process of its own.
type process struct {
	t      testing.TB
	health string // base URL of its health routes
	out    *output
	child  *child.Process
}

// spawn starts one service as a process, with w's settings and the given
// ones on top. It ends with the test, or with the test process.
func (w *world) spawn(name string, settings ...string) *process {
	w.t.Helper()
	return w.spawnFrom(program(w.t), name, settings...)
}

// spawnFrom is spawn with a program of any version.
func (w *world) spawnFrom(path, name string, settings ...string) *process {
	w.t.Helper()
	env := maps.Clone(w.env)
	addr := freeAddr(w.t)
	if name == "ingest" {
		env["HTTP_ADDR"] = addr
	} else {
		env["HEALTH_ADDR"] = addr
	}
	for i := 0; i < len(settings); i += 2 {
		env[settings[i]] = settings[i+1]
	}
	p := startProgram(w.t, path, env, name)
	p.health = "http://" + addr
	return p
}

func startProcess(t testing.TB, env map[string]string, args ...string) *process {
	t.Helper()
	return startProgram(t, program(t), env, args...)
}

func startProgram(t testing.TB, path string, env map[string]string, args ...string) *process {
	t.Helper()
	p := &process{t: t, out: &output{}}
	environment := []string{"PATH=" + os.Getenv("PATH")}
	for name, value := range env {
		environment = append(environment, name+"="+value)
	}
	var err error
	p.child, err = child.Start(child.Config{Path: path, Args: args, Env: environment, Dir: t.TempDir(), Output: p.out, Grace: patience})
	require.NoError(t, err)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%v said:\n%s", args, p.out)
		}
	})
	return p
}

// ready waits until the process answers that it is ready.
func (p *process) ready() *process {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		response, err := http.Get(p.health + "/health/ready")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, patience, 10*time.Millisecond, "%s is not ready:\n%s", p.health, p.out)
	return p
}

// kill is kill -9, and waits for the end.
func (p *process) kill() {
	p.child.Kill()
	<-p.child.Done()
}

// terminate sends SIGTERM and expects a clean end.
func (p *process) terminate() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = p.child.Stop(ctx) // a signal that finds it ended says nothing new
	<-p.child.Done()
	require.Equal(p.t, 0, p.child.ExitCode(), "%s", p.out)
}

// signal sends any other signal.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, syscall.Kill(p.child.Pid(), s))
}
