package overload_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// ownMounts is set in the process that may mount without anybody else seeing it.
const ownMounts = "OVERLOAD_OWN_MOUNTS"

// parallelTests is how many tests run at the same time: they wait more than they
// compute.
const parallelTests = 4

// skipInShort leaves a test out of make test: what it shows is close to what others
// show, and make proof runs it.
func skipInShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("at full length: make proof") //nolint:forbidigo // nothing is missing: it is left to make proof
	}
}

// TestMain runs the tests in a mount namespace of their own. What they mount
// is seen by the servers that they start and by nobody else, and is gone with
// the last of them, whatever the tests die of.
func TestMain(m *testing.M) {
	if os.Getenv(ownMounts) != "" {
		testenv.Main(m, parallelTests)
		return
	}
	code, err := runInOwnNamespace()
	if err != nil {
		fmt.Fprintf(os.Stderr, "a small disk takes a mount namespace: run the tests as root, or allow unprivileged user namespaces: %v\n", err)
	}
	os.Exit(code)
}

func runInOwnNamespace() (code int, err error) {
	const capSysAdmin = 21
	runtime.LockOSThread() // Pdeathsig is about the thread that starts the child
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), ownMounts+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{capSysAdmin}
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it has ended already, or ends now
		}
	}()
	_ = cmd.Wait() // its exit code tells
	return max(cmd.ProcessState.ExitCode(), 0), nil
}
