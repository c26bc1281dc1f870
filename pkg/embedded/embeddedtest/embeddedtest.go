// Package embeddedtest helps tests that run private servers.
package embeddedtest

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir is t.TempDir for a server's data. If the tests run as root, the server's
// unprivileged user can access it too.
func Dir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(path, 0o711); err != nil {
			t.Fatalf("open %s to other users: %v", path, err)
		}
	}
	return dir
}
