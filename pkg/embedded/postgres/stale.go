package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const retryPause = 50 * time.Millisecond

// clearStalePID handles the postmaster.pid of a killed server. PostgreSQL removes the
// file if its process is gone, but fails if another process has got the same id,
// which happens soon in a container. If a running server of this directory was
// started by hand, clearStalePID returns ErrInUse.
//
// It is called when no server of ours runs here any more.
func (d directory) clearStalePID() error {
	path := filepath.Join(d.Data, "postmaster.pid")
	pid := postmasterPid(path)
	if pid == 0 || !alive(pid) {
		return nil
	}
	if d.serves(pid) {
		return fmt.Errorf("%s: %w by a PostgreSQL that another program started (pid %d)", d.Data, ErrInUse, pid)
	}
	return replacePID(path)
}

func postmasterPid(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(first))
	return max(pid, 0)
}

// alive reports whether the process exists and is not a zombie.
func alive(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// serves reports whether the process is a server of this directory.
func (d directory) serves(pid int) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	command := strings.ReplaceAll(string(line), "\x00", " ")
	if err != nil {
		out, psErr := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
		if psErr != nil {
			return false
		}
		command = string(out)
	}
	return strings.Contains(command, "postgres") && strings.Contains(command, d.Data)
}

// replacePID writes our own process id to a postmaster.pid whose id now belongs to
// another process. PostgreSQL ignores the id of its parent, but would stop for the
// other one. The rest of the file is kept, so PostgreSQL still checks that no orphan
// uses the shared memory.
func replacePID(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(strconv.Itoa(os.Getpid()) + "\n" + rest)
	return errors.Join(err, file.Close())
}

// retryable reports whether the failure goes away by itself: another process took
// the free port first, or backends outlive their killed server for a moment.
func (d directory) retryable(fixedPort int) bool {
	if d.PortTaken() {
		return fixedPort == 0
	}
	output := d.OutputTail()
	return strings.Contains(output, "pre-existing shared memory block") ||
		strings.Contains(output, `lock file "postmaster.pid" already exists`)
}
