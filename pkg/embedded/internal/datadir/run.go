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
	// patience is what the predecessor's watcher needs, or the kernel, before we step in.
	patience = 250 * time.Millisecond
	// afterKill is how long the kernel may take to end what was killed.
	afterKill = 5 * time.Second
)

// Run starts the server's program in this home, after the one of a killed predecessor has ended: two
// would ruin the data. In between, prepare is called. The caller sets the program, its arguments,
// environment and directory, and how to end it; output nil means the home's log.
//
// A file "running" is locked through a descriptor that the server and its children hold, so the
// kernel says exactly when the last of them is gone; process numbers, which are given anew, could
// not. The lock of the home itself is not passed on.
func (h *Dir) Run(ctx context.Context, cfg process.Config, prepare func() error) (*process.Process, error) {
	path := filepath.Join(h.Root, "running")
	number, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = number.Close() }()
	// For reading only: the server must not be able to choose whom its successor signals.
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
	cfg.Credential = h.Account.Credential()
	cfg.Mark = mark
	cfg.BeforeRun = func(pid int) error {
		return errors.Join(number.Truncate(0), writeNumber(number, pid))
	}
	return process.Start(cfg)
}

func writeNumber(file *os.File, pid int) error {
	_, err := file.WriteAt([]byte(strconv.Itoa(pid)+"\n"), 0)
	return err
}

// takeOver locks mark. While a predecessor's server holds it, its parent is dead, for we hold the
// home; it is shutting down, or was forgotten because its watcher was killed too. It is asked to end,
// which does no harm twice, and killed when the grace is over.
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
		case !asked && waited > patience:
			asked = true
			h.signalPredecessor(mark, cfg.Signal)
		case !killed && waited > cfg.Grace:
			killed = true
			h.signalPredecessor(mark, syscall.SIGKILL)
		case waited > cfg.Grace+afterKill:
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
