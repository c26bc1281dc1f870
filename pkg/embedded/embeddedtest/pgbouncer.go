package embeddedtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/embedded/postgres"
	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
)

// startTimeout limits the start of a server.
const startTimeout = 30 * time.Second

// PgBouncer starts a PgBouncer in front of the server of a postgres:// URL and
// returns the URL through it. mode is its pool_mode. Each setting is a line of
// pgbouncer.ini. It stops when the test ends.
func PgBouncer(t testing.TB, address, mode string, settings ...string) string {
	t.Helper()
	server, err := url.Parse(address)
	if err != nil {
		t.Fatalf("read the address of the server: %v", err)
	}
	password, _ := server.User.Password()
	port := freePort(t)
	ini := filepath.Join(Dir(t), "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
max_client_conn = 400
%s
`, server.Hostname(), server.Port(), server.User.Username(), password, port, mode, strings.Join(settings, "\n"))
	if err := os.WriteFile(ini, []byte(text), 0o644); err != nil {
		t.Fatalf("write %s: %v", ini, err)
	}
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			t.Fatalf("PgBouncer is not installed: run scripts/deps test")
		}
	}
	var output bytes.Buffer
	process, err := process.Start(process.Config{
		Path: program, Args: []string{ini}, Env: []string{"LC_ALL=C"}, Output: &output, Credential: unprivileged(t), Signal: syscall.SIGINT,
	})
	if err != nil {
		t.Fatalf("start PgBouncer: %v", err)
	}
	t.Cleanup(func() { _ = process.Stop(context.Background()) })
	server.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	awaitListener(t, "PgBouncer", server.Host, process, &output)
	return server.String()
}

// unprivileged returns another user if this one is root, because PgBouncer refuses
// to run as root.
func unprivileged(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range postgres.Users() {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(found.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(found.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Fatal("there is no user to run PgBouncer as")
	return nil
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
