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

// Examine says what Start would fail by in a directory, as far as that can be
// known without changing anything, or where the programs are that it would
// run. Errors wrap ErrNotInstalled or ErrUnreachable where they apply.
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
	standing := dir
	for _, err := os.Stat(standing); errors.Is(err, os.ErrNotExist) && filepath.Dir(standing) != standing; _, err = os.Stat(standing) {
		standing = filepath.Dir(standing)
	}
	if err := as.Reach(standing); err != nil {
		return "", err
	}
	const mayWrite = 2
	if err := syscall.Access(standing, mayWrite); err != nil {
		return "", fmt.Errorf("%s can't be written to: %w", standing, err)
	}
	return findBinaries(as, at.version(), candidates())
}
