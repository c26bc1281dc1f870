package overload_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// disk is a small file system of a test's own.
type disk struct {
	t      testing.TB
	dir    string
	filler string
}

// noPropagation keeps mounts from being seen outside the namespace.
var noPropagation = sync.OnceValue(func() error {
	return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
})

// newDisk puts a disk of some MiB at a directory; what is in there moves onto
// it. Nothing may be running there.
func newDisk(t testing.TB, dir string, mebibytes int) *disk {
	t.Helper()
	require.NoError(t, noPropagation())
	aside := t.TempDir()
	run(t, "cp", "-a", dir+"/.", aside)
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mebibytes)))
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	run(t, "cp", "-a", aside+"/.", dir)
	return &disk{t: t, dir: dir, filler: filepath.Join(dir, "filler")}
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// Fill leaves no byte free.
func (d *disk) Fill() {
	d.t.Helper()
	file, err := os.OpenFile(d.filler, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(d.t, err)
	defer file.Close()
	_, err = io.Copy(file, zeros{})
	require.ErrorIs(d.t, err, syscall.ENOSPC)
}

// Free takes away what Fill put there.
func (d *disk) Free() {
	d.t.Helper()
	if err := os.Remove(d.filler); !errors.Is(err, os.ErrNotExist) {
		require.NoError(d.t, err)
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
