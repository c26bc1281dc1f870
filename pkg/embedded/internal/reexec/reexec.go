// Package reexec runs the test binary again as another process, which a test may
// kill or run as another user.
package reexec

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
)

const roleVariable = "DISPATCH_TEST_ROLE"

// Role is the work of such a process. It returns one line for the test. The process
// then lives until it is killed or its stdin ends.
type Role func(args []string) (string, error)

// Main runs the role that the environment names, else the tests. Call it in
// TestMain.
func Main(m *testing.M, roles map[string]Role) {
	name := os.Getenv(roleVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	line, err := roles[name](os.Args[1:])
	if err != nil {
		fmt.Println("error:", strings.ReplaceAll(err.Error(), "\n", " "))
		os.Exit(1)
	}
	fmt.Println(line)
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// Process is a running role.
type Process struct {
	// Line is the line that the role returned, or "error: " and its error.
	Line string
	Pid  int
	t    *testing.T
	cmd  *exec.Cmd
}

// Start runs a role and waits for its line. The extra files become descriptors 3 and
// up, and are inherited by programs that it executes.
func Start(t *testing.T, as *syscall.Credential, extra []*os.File, role string, args ...string) *Process {
	t.Helper()
	cmd := exec.Command(binary(t, as), args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Dir = "/"
	cmd.ExtraFiles = extra
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("role %s printed nothing: %v", role, err)
	}
	p := &Process{Line: strings.TrimSpace(line), Pid: cmd.Process.Pid, t: t, cmd: cmd}
	t.Cleanup(func() { _ = stdin.Close(); p.Kill() })
	return p
}

// Kill sends SIGKILL and waits.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// Children returns the ids of the child processes whose command line contains word.
func (p *Process) Children(word string) []int {
	out, err := exec.Command("ps", "-A", "-ww", "-o", "pid=,ppid=,command=").Output()
	if err != nil {
		p.t.Fatal(err)
	}
	var pids []int
	for line := range strings.Lines(string(out)) {
		var pid, parent int
		if n, _ := fmt.Sscan(line, &pid, &parent); n == 2 && parent == p.Pid && strings.Contains(line, word) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Gone reports whether a process has ended. A zombie has ended.
func Gone(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", fmt.Sprint(pid)).Output()
	state := strings.TrimSpace(string(out))
	return err != nil || state == "" || strings.HasPrefix(state, "Z")
}

// binary returns the path of the test binary. For another user it is a copy that
// everyone may execute, because the original is in a directory of mode 0700. cp
// makes the copy: other tests start processes meanwhile, which would inherit our
// writable descriptor and make the copy "busy".
func binary(t *testing.T, as *syscall.Credential) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if as == nil {
		return self
	}
	path := filepath.Join(embeddedtest.Dir(t), "test")
	if out, err := exec.Command("cp", self, path).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	return path
}

// Nobody returns the credential of an ordinary user if the tests run as root, else
// nil, which means our own user.
func Nobody() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: 65534, Gid: 65534}
}

// Chown makes the ordinary user the owner of path.
func Chown(t *testing.T, path string) {
	t.Helper()
	if as := Nobody(); as != nil {
		if err := os.Chown(path, int(as.Uid), int(as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}
