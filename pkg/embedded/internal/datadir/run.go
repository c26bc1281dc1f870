package datadir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
)

const (
	takeOverPause = 20 * time.Millisecond
	// takeOverDelay is the time that the predecessor's watcher and the kernel get to
	// end the old server before we signal it.
	takeOverDelay = 250 * time.Millisecond
	// killTimeout is how long the kernel may take to end a killed process.
	killTimeout = 5 * time.Second
)

// Run starts the server's program in this directory. It first waits until the server
// of a killed predecessor has ended, because two servers would corrupt the data,
// then calls prepare. The caller sets the program, its arguments, environment,
// directory and end signal. If cfg.Output is nil, Log receives the output.
//
// The server and its children hold a descriptor through which the file "running" is
// locked. The kernel therefore shows exactly when the last of them has ended. A
// process id could not, because ids are reused. The server does not inherit the lock
// of the directory itself.
func (h *Dir) Run(ctx context.Context, cfg process.Config, prepare func() error) (*process.Process, error) {
	path := filepath.Join(h.Root, "running")
	pidFile, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = pidFile.Close() }()
	// Read-only: the server must not be able to choose which process its successor signals.
	mark, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = mark.Close() }()
	if err := h.takeOver(ctx, mark, cfg); err != nil {
		return nil, err
	}
	if err := prepare(); err != nil {
		return nil, err
	}
	if cfg.Output == nil {
		cfg.Output = h.Output()
	}
	cfg.Credential = h.User.Credential()
	cfg.Mark = mark
	cfg.BeforeRun = func(pid int) error {
		return errors.Join(pidFile.Truncate(0), writePID(pidFile, pid))
	}
	return process.Start(cfg)
}

func writePID(file *os.File, pid int) error {
	_, err := file.WriteAt([]byte(strconv.Itoa(pid)+"\n"), 0)
	return err
}

// takeOver locks mark. While an old server holds it, its parent is dead, because we
// hold the directory. The old server is shutting down, or its watcher was killed
// too. takeOver sends it the end signal, which is harmless if sent twice, and kills
// it when the grace is over.
func (h *Dir) takeOver(ctx context.Context, mark *os.File, cfg process.Config) error {
	var asked, killed bool
	began := time.Now()
	for {
		err := syscall.Flock(int(mark.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock %s: %w", mark.Name(), err)
		}
		waited := time.Since(began)
		switch {
		case !asked && waited > takeOverDelay:
			asked = true
			h.signalPredecessor(mark, cfg.Signal)
		case !killed && waited > cfg.Grace:
			killed = true
			h.signalPredecessor(mark, syscall.SIGKILL)
		case waited > cfg.Grace+killTimeout:
			return fmt.Errorf("the %s of an earlier run in %s does not end", h.Name, h.Root)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(takeOverPause):
		}
	}
}

func (h *Dir) signalPredecessor(mark *os.File, signal syscall.Signal) {
	buf := make([]byte, 32)
	n, _ := mark.ReadAt(buf, 0)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n]))); err == nil && pid > 1 {
		_ = syscall.Kill(pid, signal)
	}
}
