// Package reexec runs the test binary again, as a process that a test may kill or run as another
// user.
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

// Role is what a process does instead of testing. It returns one line for its test, and its process
// then lives until it is killed or its stdin ends.
type Role func(args []string) (string, error)

// Main is for TestMain.
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
	// Line is what the role returned, or "error: " and its error.
	Line string
	Pid  int
	t    *testing.T
	cmd  *exec.Cmd
}

// Start runs a role and waits for its line. Extra files become its descriptors from 3 on, without
// being closed when it executes something.
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
		t.Fatalf("role %s said nothing: %v", role, err)
	}
	p := &Process{Line: strings.TrimSpace(line), Pid: cmd.Process.Pid, t: t, cmd: cmd}
	t.Cleanup(func() { _ = stdin.Close(); p.Kill() })
	return p
}

// Kill is kill -9.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// Children lists the numbers of the process' children whose command line contains word.
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

// Gone tells whether a process has ended; one that nobody reaps has.
func Gone(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", fmt.Sprint(pid)).Output()
	state := strings.TrimSpace(string(out))
	return err != nil || state == "" || strings.HasPrefix(state, "Z")
}

// binary is this one, or, for another user, a copy that every user can execute: the original lies in
// a directory of mode 0700. It is cp that copies, since a descriptor of ours that is open for writing
// would be inherited by what other tests start meanwhile, and the copy be "busy".
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

// Nobody is the credential of an ordinary user when the tests run as root, else nil: ours.
func Nobody() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: 65534, Gid: 65534}
}

// Give makes path the ordinary user's.
func Give(t *testing.T, path string) {
	t.Helper()
	if as := Nobody(); as != nil {
		if err := os.Chown(path, int(as.Uid), int(as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}
