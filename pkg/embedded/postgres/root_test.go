package postgres_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/reexec"
	"github.com/message-dispatcher/dispatch/pkg/embedded/postgres"
)

// Only the server's user may read the files, and it is never root.
func TestOnlyTheServersUserMayReadTheFiles(t *testing.T) {
	t.Parallel()
	dir := embeddedtest.Dir(t)
	start(t, postgres.Config{Dir: dir})
	for name, mode := range map[string]os.FileMode{"data": 0o700, "password": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), name)
		require.NotZero(t, owner(t, info), name)
	}
}

func TestRootServesAsTheOwnerOfTheData(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // an ordinary user can only ever be itself
	}
	dir := embeddedtest.Dir(t)
	reexec.Chown(t, dir)
	parent := reexec.Start(t, reexec.Nobody(), nil, "serve", dir)
	number(t, parent.Line)
	parent.Kill()

	server := start(t, postgres.Config{Dir: dir})
	require.Equal(t, int64(1), query(t, server, "SELECT count(*) FROM runs"))
	info, err := os.Stat(filepath.Join(dir, "data", "PG_VERSION"))
	require.NoError(t, err)
	require.Equal(t, reexec.Nobody().Uid, owner(t, info))
}

func TestAnInaccessibleDirectoryIsFoundBeforeTheStart(t *testing.T) {
	t.Parallel()
	locked := filepath.Join(embeddedtest.Dir(t), "locked")
	require.NoError(t, os.Mkdir(locked, 0o700))
	dir := filepath.Join(locked, "data")
	require.NoError(t, os.Mkdir(dir, 0o700))

	if os.Geteuid() == 0 {
		_, err := postgres.Start(t.Context(), postgres.Config{Dir: dir})
		require.ErrorIs(t, err, postgres.ErrUnreachable)
		require.ErrorContains(t, err, "cannot enter "+locked+" (drwx------)", "it names the barrier")
		require.ErrorContains(t, err, "chmod o+x "+locked, "it says what to do")
		empty(t, dir)
	}
	require.NoError(t, os.Chmod(locked, 0o711))
	start(t, postgres.Config{Dir: dir})
}

func owner(t *testing.T, info os.FileInfo) uint32 {
	t.Helper()
	stat, ok := info.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	return stat.Uid
}
