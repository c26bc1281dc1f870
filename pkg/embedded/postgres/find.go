package postgres

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/osuser"
)

// Oldest is the oldest supported major version.
const Oldest = 14

// installDirs are where packages install a server that is not in PATH.
var installDirs = []string{
	"/usr/lib/postgresql/*/bin",                               // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                        // PGDG on Fedora, RHEL
	"/usr/libexec/postgresql*",                                // Alpine
	"/usr/lib/postgresql*/bin",                                // SUSE
	"/opt/homebrew/opt/postgresql*/bin",                       // Homebrew on Apple silicon
	"/usr/local/opt/postgresql*/bin",                          // Homebrew on Intel
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",          // Homebrew on Linux
	"/Applications/Postgres.app/Contents/Versions/*/bin",      // Postgres.app
	"/opt/local/lib/postgresql*/bin", "/usr/local/pgsql*/bin", // MacPorts, built from source
	"/run/current-system/sw/bin", "/usr/local/lib/postgresql/bin", // NixOS, the official image
}

// findBinaries returns the first of dirs whose programs the user may execute. If
// major is not 0, only that version is accepted, because a data directory can only be
// opened by the major version that created it.
func findBinaries(as osuser.User, major int, dirs []string) (string, error) {
	var seen []int
	for _, dir := range dirs {
		version, ok := majorVersion(as, dir)
		if !ok || slices.Contains(seen, version) {
			continue
		}
		if version == major || major == 0 && version >= Oldest {
			return dir, nil
		}
		seen = append(seen, version)
	}
	switch {
	case len(seen) == 0:
		return "", fmt.Errorf("%w: run: make deps (or: %s), or set DATABASE_URL to a server of yours",
			ErrNotInstalled, installLine())
	case major > 0:
		return "", fmt.Errorf("the data directory was made by PostgreSQL %d, but only %v is installed: "+
			"install %d too, or move the data over with pg_upgrade", major, seen, major)
	default:
		return "", fmt.Errorf("%w in version %d or later, only in %v: install a newer one, or set DATABASE_URL",
			ErrNotInstalled, Oldest, seen)
	}
}

// candidates lists directories that contain both programs: those in PATH first, then
// the others, newest version first.
func candidates() []string {
	var dirs []string
	add := func(dir string) bool {
		_, postgresErr := exec.LookPath(filepath.Join(dir, "postgres"))
		_, initdbErr := exec.LookPath(filepath.Join(dir, "initdb"))
		if postgresErr != nil || initdbErr != nil {
			return false
		}
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		return true
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		// The target of a link is next to the server's other programs. A wrapper script is not.
		real, err := filepath.EvalSymlinks(path)
		if err != nil || !add(filepath.Dir(real)) {
			add(filepath.Dir(path))
		}
	}
	var found []string
	for _, place := range installDirs {
		matches, _ := filepath.Glob(place) // the patterns are well formed
		found = append(found, matches...)
	}
	slices.SortStableFunc(found, func(a, b string) int { return cmp.Compare(pathVersion(b), pathVersion(a)) })
	for _, dir := range found {
		add(dir)
	}
	return dirs
}

var number = regexp.MustCompile(`\d+`)

// pathVersion returns the first number in a path. It is the major version in all of
// installDirs.
func pathVersion(path string) int {
	version, _ := strconv.Atoi(number.FindString(path))
	return version
}

// majorVersion runs the program, as the user that will run the server.
func majorVersion(as osuser.User, dir string) (int, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version")
	cmd.Env = environment()
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as.Credential()}
	out, err := cmd.Output()
	if err != nil {
		return 0, false
	}
	version, err := strconv.Atoi(number.FindString(string(out)))
	return version, err == nil
}

// installLine returns the command that installs PostgreSQL on this machine.
func installLine() string {
	for _, manager := range []struct{ name, line string }{
		{"apt-get", "apt-get install postgresql"},
		{"dnf", "dnf install postgresql-server"},
		{"apk", "apk add postgresql"},
		{"brew", "brew install postgresql@17"},
	} {
		if _, err := exec.LookPath(manager.name); err == nil {
			return manager.line
		}
	}
	return "install PostgreSQL with your package manager"
}
