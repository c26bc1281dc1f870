package embeddedtest

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
)

// Redis starts a redis-server on a free port of 127.0.0.1 and returns the port. args
// are extra arguments and lines extra configuration lines, in which PORT stands for
// the port. It stops when the test ends.
func Redis(t testing.TB, args []string, lines ...string) string {
	t.Helper()
	port := strconv.Itoa(freePort(t))
	file := filepath.Join(Dir(t), "redis.conf")
	lines = append(lines, `save ""`, "dir "+filepath.Dir(file), "bind 127.0.0.1")
	config := strings.ReplaceAll(strings.Join(lines, "\n"), "PORT", port)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatalf("write %s: %v", file, err)
	}
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed: run scripts/deps test")
	}
	var output bytes.Buffer
	process, err := process.Start(process.Config{Path: program, Args: append([]string{file}, args...), Output: &output, Signal: syscall.SIGTERM})
	if err != nil {
		t.Fatalf("start Redis: %v", err)
	}
	t.Cleanup(func() { _ = process.Stop(context.Background()) })
	address := net.JoinHostPort("127.0.0.1", port)
	awaitListener(t, "Redis", address, process, &output)
	return port
}

// FreePort returns a port of 127.0.0.1 that nobody listens on.
func FreePort(t testing.TB) int { return freePort(t) }

// awaitListener waits until a server accepts connections.
func awaitListener(t testing.TB, name, address string, process *process.Process, output *bytes.Buffer) {
	t.Helper()
	deadline := time.After(startTimeout)
	for {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-process.Done():
			t.Fatalf("%s ended: %v: %s", name, process.Err(), output)
		case <-deadline:
			t.Fatalf("%s does not accept connections", name)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
