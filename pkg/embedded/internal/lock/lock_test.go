package lock_test

import (
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/lock"
)

func TestALockHoldsUntilItIsReleased(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held, err := lock.Acquire(dir)
	require.NoError(t, err)
	_, err = lock.Acquire(dir)
	require.ErrorIs(t, err, lock.ErrInUse)
	require.ErrorContains(t, err, strconv.Itoa(os.Getpid()))
	held.Release()
	held, err = lock.Acquire(dir)
	require.NoError(t, err)
	held.Release()
}

func TestAnUnreferencedLockIsStillHeld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := lock.Acquire(dir)
	require.NoError(t, err)
	runtime.GC()
	runtime.GC()
	_, err = lock.Acquire(dir)
	require.ErrorIs(t, err, lock.ErrInUse)
}
