package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
)

const (
	dispatchPackage = "github.com/message-dispatcher/dispatch/cmd/dispatch"
	natsPackage     = "github.com/nats-io/nats-server/v2"
)

// Build returns the path of the dispatch program, as a user has it or with
// build tags. The path is valid until the test process ends.
func Build(t testing.TB, tags ...string) string {
	t.Helper()
	return build(t, dispatchPackage, strings.Join(tags, ","))
}

// BuildNATS is Build for nats-server, in the version that is embedded
// elsewhere.
func BuildNATS(t testing.TB) string {
	t.Helper()
	return build(t, natsPackage, "")
}

// Programs are built once a test process. They are kept in bin/test, so that
// the other packages and the next run need not link them again: go build leaves
// a file alone that is up to date.
var (
	builds    = map[string]func() (string, error){}
	buildsMu  sync.Mutex
	buildsDir = sync.OnceValues(func() (string, error) {
		root, err := Root()
		if err != nil {
			return "", err
		}
		parent := filepath.Join(root, "bin", "test")
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return "", err
		}
		dir, err := os.MkdirTemp(parent, "process-")
		if err != nil {
			return "", err
		}
		_, err = process.RemoveAtDeath(dir)
		return dir, err
	})
)

func build(t testing.TB, pkg, tags string) string {
	t.Helper()
	buildsMu.Lock()
	once := builds[pkg+" "+tags]
	if once == nil {
		once = sync.OnceValues(func() (string, error) { return goBuild(pkg, tags) })
		builds[pkg+" "+tags] = once
	}
	buildsMu.Unlock()
	path, err := once()
	if err != nil {
		t.Fatalf("build %s: %v", pkg, err)
	}
	return path
}

// goBuild brings the kept program up to date and returns a link of this test
// process's own to it: another one may have the kept file replaced meanwhile.
func goBuild(pkg, tags string) (string, error) {
	dir, err := buildsDir()
	if err != nil {
		return "", err
	}
	name := filepath.Base(strings.TrimSuffix(pkg, "/v2"))
	if tags != "" {
		name += "-" + strings.ReplaceAll(tags, ",", "-")
	}
	kept, own := filepath.Join(filepath.Dir(dir), name), filepath.Join(dir, name)
	unlock, err := lockFile(kept + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	cmd := exec.Command("go", "build", "-tags", tags, "-o", kept, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return own, os.Link(kept, own)
}

// lockFile waits until no other process holds the lock of this name.
func lockFile(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = file.Close() }, nil
}

// Root returns the directory of the repository. Tests run in the directory of
// their package, which is below it.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.work above the working directory: tests run in a checkout")
		}
		dir = parent
	}
}
