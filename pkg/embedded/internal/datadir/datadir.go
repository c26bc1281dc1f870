// Package datadir manages the directory of a private server. It creates, checks and
// locks the directory, and ends a server that an earlier process left in it.
package datadir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/lock"
	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/osuser"
	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
)

// Config describes the directory of one server.
type Config struct {
	// Name is the name of the server, for file names.
	Name string
	// Dir is the directory. With Ephemeral, a temporary directory is created in it;
	// empty means the system's temporary directory.
	Dir       string
	Ephemeral bool
	// Users are the users that root may run the server as. The first that exists is
	// used, unless data exists already; then its owner is used.
	Users []string
	// Output receives the server's output. Nil means a log file in the directory.
	Output Output
}

// Dir is a directory that is locked until Close. It is not safe for concurrent use,
// except for Log.
type Dir struct {
	*Log
	Name          string
	Root          string // Config.Dir, or the temporary directory
	Data          string // directory of the server's data; Open does not create it
	Ephemeral     bool
	User          osuser.User
	lock          *lock.Lock
	cancelRemoval func() // ephemeral: stops the watcher that would remove it at our death
}

// Open creates, checks and locks a directory. It finds the failures that can be
// known before the server starts. Errors wrap lock.ErrInUse or
// osuser.ErrUnreachable where they apply.
func Open(cfg Config) (*Dir, error) {
	if cfg.Dir == "" {
		if !cfg.Ephemeral {
			return nil, errors.New("no directory given")
		}
		cfg.Dir = os.TempDir()
	}
	root, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	h := &Dir{Name: cfg.Name, Root: root, Ephemeral: cfg.Ephemeral}
	if cfg.Ephemeral {
		h.Root = filepath.Join(root, "dispatch-"+cfg.Name+"-"+rand.Text())
		if h.cancelRemoval, err = process.RemoveAtDeath(h.Root); err != nil {
			return nil, err
		}
	}
	h.Data = filepath.Join(h.Root, "data")
	if err := h.open(cfg); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func (h *Dir) open(cfg Config) (err error) {
	if h.User, err = osuser.Choose(h.Data, cfg.Users...); err != nil {
		return err
	}
	if err := h.User.MakeDir(h.Root); err != nil {
		return err
	}
	if err := h.User.CheckAccess(h.Root); err != nil {
		return err
	}
	if h.lock, err = lock.Acquire(h.Root); err != nil {
		return err
	}
	h.Log, err = openLog(filepath.Join(h.Root, h.Name+".log"), cfg.Output)
	return err
}

// Close unlocks the directory, and removes it if it is ephemeral.
func (h *Dir) Close() {
	if h.Log != nil {
		h.Log.close()
	}
	if h.cancelRemoval != nil {
		_ = os.RemoveAll(h.Root)
		h.cancelRemoval()
	}
	if h.lock != nil {
		h.lock.Release()
	}
}

// PasswordFile returns the path of the file with the password.
func (h *Dir) PasswordFile() string { return filepath.Join(h.Root, "password") }

// Password returns the server's password. The first call in a directory creates a
// random one and stores it. The file belongs to the server's user, mode 0600.
func (h *Dir) Password() (string, error) {
	path := h.PasswordFile()
	if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
		return strings.TrimSpace(string(text)), nil
	}
	password := rand.Text()
	return password, h.WriteFile(path, password+"\n")
}

// WriteFile writes a file of the server atomically, mode 0600.
func (h *Dir) WriteFile(path, text string) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	if err == nil && !h.Ephemeral {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = h.User.Chown(file.Name())
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Sync makes the directory entries survive a power cut.
func (h *Dir) Sync() error {
	if h.Ephemeral {
		return nil
	}
	dir, err := os.Open(h.Root)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
