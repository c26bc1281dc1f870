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

// Redis starts a redis-server with arguments and lines of configuration of its
// own on a free port of 127.0.0.1, and returns that; PORT in a line is the port.
// It ends with the test.
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
	var said bytes.Buffer
	process, err := process.Start(process.Config{Path: program, Args: append([]string{file}, args...), Output: &said, Signal: syscall.SIGTERM})
	if err != nil {
		t.Fatalf("start Redis: %v", err)
	}
	t.Cleanup(func() { _ = process.Stop(context.Background()) })
	address := net.JoinHostPort("127.0.0.1", port)
	awaitListener(t, "Redis", address, process, &said)
	return port
}

// FreePort is a port of 127.0.0.1 that nobody listens on.
func FreePort(t testing.TB) int { return freePort(t) }

// awaitListener returns once a server takes connections.
func awaitListener(t testing.TB, name, address string, process *process.Process, said *bytes.Buffer) {
	t.Helper()
	deadline := time.After(startWait)
	for {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-process.Done():
			t.Fatalf("%s ended: %v: %s", name, process.Err(), said)
		case <-deadline:
			t.Fatalf("%s does not take connections", name)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
