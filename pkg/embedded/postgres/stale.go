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

// releasePid looks after the postmaster.pid of a server that was killed. PostgreSQL clears it away
// if its process is gone, but gives up if the number was given to another process meanwhile, which
// happens soon in a container. A server that somebody started by hand gives ErrInUse.
//
// It is called when no server of ours runs here any more.
func (d directory) releasePid() error {
	path := filepath.Join(d.Data, "postmaster.pid")
	pid := postmasterPid(path)
	if pid == 0 || !alive(pid) {
		return nil
	}
	if d.serves(pid) {
		return fmt.Errorf("%s: %w by a PostgreSQL that was started otherwise (pid %d)", d.Data, ErrInUse, pid)
	}
	return adopt(path)
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

// alive tells whether the process exists and is more than an unreaped remainder.
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

// serves tells whether the process is a server of this very directory.
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

// adopt puts our own number into a postmaster.pid whose number now belongs to a stranger.
// PostgreSQL takes its parent's number for a stale one, where the stranger's would stop it; with
// the rest of the file in place it still makes sure that no orphan uses the shared memory.
func adopt(path string) error {
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

// worthAnotherTry tells whether the failed attempt met something that passes by itself: a free port
// that another process took first, or backends that outlive their killed server for a moment.
func (d directory) worthAnotherTry(fixedPort int) bool {
	if d.PortTaken() {
		return fixedPort == 0
	}
	words := d.Words()
	return strings.Contains(words, "pre-existing shared memory block") ||
		strings.Contains(words, `lock file "postmaster.pid" already exists`)
}
