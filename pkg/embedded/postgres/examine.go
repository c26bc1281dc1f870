package postgres

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/datadir"
	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/osuser"
)

// Examine returns the error that Start would return for a directory, as far as it is
// known without changing anything, else the directory of the PostgreSQL programs.
// Errors wrap ErrNotInstalled or ErrUnreachable where they apply.
func Examine(dir string) (programs string, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	at := directory{&datadir.Dir{Root: dir, Data: filepath.Join(dir, "data")}}
	as, err := osuser.Choose(at.Data, Users()...)
	if err != nil {
		return "", err
	}
	existing := dir
	for _, err := os.Stat(existing); errors.Is(err, os.ErrNotExist) && filepath.Dir(existing) != existing; _, err = os.Stat(existing) {
		existing = filepath.Dir(existing)
	}
	if err := as.CheckAccess(existing); err != nil {
		return "", err
	}
	const mayWrite = 2
	if err := syscall.Access(existing, mayWrite); err != nil {
		return "", fmt.Errorf("%s can't be written to: %w", existing, err)
	}
	return findBinaries(as, at.version(), candidates())
}
