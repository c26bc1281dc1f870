package postgres

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/osuser"
)

func TestFindsAnInstalledServer(t *testing.T) {
	t.Parallel()
	dir, err := findBinaries(osuser.User{}, 0, candidates())
	require.NoError(t, err)
	for _, program := range []string{"postgres", "initdb"} {
		require.FileExists(t, filepath.Join(dir, program))
	}
}

func TestSaysWhatToTypeWhenThereIsNone(t *testing.T) {
	t.Parallel()
	_, err := findBinaries(osuser.User{}, 0, []string{t.TempDir()})
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "make deps")
	require.ErrorContains(t, err, "DATABASE_URL")
}

func TestTakesOnlyTheVersionThatMadeTheData(t *testing.T) {
	t.Parallel()
	old, current, future := fake(t, "13.22"), fake(t, "17.6 (Debian 17.6-1)"), fake(t, "18beta1")

	dir, err := findBinaries(osuser.User{}, 0, []string{old, current, future})
	require.NoError(t, err)
	require.Equal(t, current, dir, "the first that is not too old")
	dir, err = findBinaries(osuser.User{}, 18, []string{old, current, future})
	require.NoError(t, err)
	require.Equal(t, future, dir)
	_, err = findBinaries(osuser.User{}, 16, []string{old, current})
	require.ErrorContains(t, err, "made by PostgreSQL 16, but only [13 17] is installed")
	_, err = findBinaries(osuser.User{}, 0, []string{old})
	require.ErrorIs(t, err, ErrNotInstalled)
}

// fake returns a directory with a postgres that only prints its version. A shell
// writes it: other tests start processes meanwhile, which would inherit our writable
// descriptor and make the file "busy".
func fake(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	const write = `printf '#!/bin/sh\necho "postgres (PostgreSQL) %s"\n' "$2" >"$1" && chmod 755 "$1"`
	require.NoError(t, exec.Command("/bin/sh", "-c", write, "sh", filepath.Join(dir, "postgres"), version).Run())
	return dir
}
