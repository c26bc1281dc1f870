// Package lock keeps two processes from working in the same directory.
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

// ErrInUse tells that another process works in the directory.
var ErrInUse = errors.New("directory is in use")

// Lock is held until Release or the end of the process, whatever ends it. Child processes do not
// inherit it.
type Lock struct {
	// A plain descriptor, since the garbage collector would close a file that was dropped, and give
	// the directory free under a server that runs on.
	descriptor int
}

// Acquire locks dir, which must exist, by a file named "lock" in it. It does not wait: a directory
// locked by another gives an error that wraps ErrInUse and names the other's process number.
func Acquire(dir string) (*Lock, error) {
	path := filepath.Join(dir, "lock")
	const flags = syscall.O_RDWR | syscall.O_CREAT | syscall.O_CLOEXEC | syscall.O_NOFOLLOW
	fd, err := again(func() (int, error) { return syscall.Open(path, flags, 0o600) })
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	_, err = again(func() (int, error) { return 0, syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) })
	if err != nil {
		defer func() { _ = syscall.Close(fd) }()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		return nil, fmt.Errorf("%s: %w by another process%s", dir, ErrInUse, owner(fd))
	}
	// The number is for the message above only, so a failure to write it is harmless.
	if syscall.Ftruncate(fd, 0) == nil {
		_, _ = syscall.Pwrite(fd, []byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &Lock{descriptor: fd}, nil
}

// again repeats a call that a signal interrupted.
func again(call func() (int, error)) (int, error) {
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

// Release gives the directory free; it is to be called once. It unlocks before it closes: a child
// that is just being forked holds the descriptor too, until it executes its program. The file stays,
// as removing it would let two others lock two different files of the same name.
func (l *Lock) Release() {
	_ = syscall.Flock(l.descriptor, syscall.LOCK_UN)
	_ = syscall.Close(l.descriptor)
}
