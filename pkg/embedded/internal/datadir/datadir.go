// Package datadir is the directory of a private server: made, checked, locked, and taken over from a
// predecessor that was killed.
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

// Config says whose home it is.
type Config struct {
	// Name of the server, for file names.
	Name string
	// Dir is the directory; with Ephemeral, where a temporary one is made, empty meaning the
	// system's place for such.
	Dir       string
	Ephemeral bool
	// Users are whom root runs the server as: the first that exists, unless data is there already,
	// whose owner goes on.
	Users []string
	// Output takes what the server says; nil means a log file in the directory.
	Output Output
}

// Dir is locked for us until Close.
type Dir struct {
	*Log
	Name      string
	Root      string // Config.Dir, or the temporary directory
	Data      string // where the server keeps its data; not made here
	Ephemeral bool
	Account   osuser.User
	lock      *lock.Lock
	forget    func() // ephemeral: dismisses the one who removes it at our death
}

// Open makes, checks and locks a home. Everything that can be known to fail later is found out here.
// Errors wrap lock.ErrInUse or osuser.ErrUnreachable where they apply.
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
		if h.forget, err = process.RemoveAtDeath(h.Root); err != nil {
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
	if h.Account, err = osuser.Choose(h.Data, cfg.Users...); err != nil {
		return err
	}
	if err := h.Account.MakeDir(h.Root); err != nil {
		return err
	}
	if err := h.Account.Reach(h.Root); err != nil {
		return err
	}
	if h.lock, err = lock.Acquire(h.Root); err != nil {
		return err
	}
	h.Log, err = openLog(filepath.Join(h.Root, h.Name+".log"), cfg.Output)
	return err
}

// Close gives the directory free, and removes an ephemeral one.
func (h *Dir) Close() {
	if h.Log != nil {
		h.Log.close()
	}
	if h.forget != nil {
		_ = os.RemoveAll(h.Root)
		h.forget()
	}
	if h.lock != nil {
		h.lock.Release()
	}
}

// PasswordFile is where Password keeps it.
func (h *Dir) PasswordFile() string { return filepath.Join(h.Root, "password") }

// Password returns the server's password: a random one on first use, the same ever after. Its file
// belongs to the server's user, mode 0600.
func (h *Dir) Password() (string, error) {
	path := h.PasswordFile()
	if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
		return strings.TrimSpace(string(text)), nil
	}
	password := rand.Text()
	return password, h.WriteFile(path, password+"\n")
}

// WriteFile writes a file of the server's, mode 0600, at once in full.
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
		err = h.Account.Own(file.Name())
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

// Sync makes the names in the directory survive a power cut.
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
