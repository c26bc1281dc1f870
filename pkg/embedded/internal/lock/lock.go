// Package lock lets only one process use a directory.
package lock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrInUse means that another process uses the directory.
var ErrInUse = errors.New("directory is in use")

// Lock is held until Release or the end of the process, in whatever way it ends.
// Child processes do not inherit it.
type Lock struct {
	// A plain descriptor: the garbage collector would close an unreferenced
	// os.File and so unlock the directory of a running server.
	descriptor int
}

// Acquire locks dir, which must exist, with a file named "lock" in it. It does not
// wait. If another process holds the lock, the error wraps ErrInUse and contains its
// process id.
func Acquire(dir string) (*Lock, error) {
	path := filepath.Join(dir, "lock")
	const flags = syscall.O_RDWR | syscall.O_CREAT | syscall.O_CLOEXEC | syscall.O_NOFOLLOW
	fd, err := retryInterrupted(func() (int, error) { return syscall.Open(path, flags, 0o600) })
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	_, err = retryInterrupted(func() (int, error) { return 0, syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) })
	if err != nil {
		defer func() { _ = syscall.Close(fd) }()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		return nil, fmt.Errorf("%s: %w by another process%s", dir, ErrInUse, owner(fd))
	}
	// The process id is only for the message above, so a failed write is harmless.
	if syscall.Ftruncate(fd, 0) == nil {
		_, _ = syscall.Pwrite(fd, []byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &Lock{descriptor: fd}, nil
}

// retryInterrupted repeats a call that a signal has interrupted.
func retryInterrupted(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}

func owner(fd int) string {
	buf := make([]byte, 32)
	n, _ := syscall.Pread(fd, buf, 0)
	if pid := strings.TrimSpace(string(buf[:max(n, 0)])); pid != "" {
		return " (pid " + pid + ")"
	}
	return ""
}

// Release unlocks the directory. Call it once. It unlocks before it closes, because
// a child that is being forked also holds the descriptor until it executes its
// program. The file stays: if it were removed, two processes could lock two
// different files of the same name.
func (l *Lock) Release() {
	_ = syscall.Flock(l.descriptor, syscall.LOCK_UN)
	_ = syscall.Close(l.descriptor)
}
