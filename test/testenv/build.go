package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
)

const (
	dispatchPackage = "github.com/message-dispatcher/dispatch/cmd/dispatch"
	natsPackage     = "github.com/nats-io/nats-server/v2"
)

// Build returns the path of the dispatch program, as a user has it or with
// build tags. Each combination is built once; its file goes with the test
// process.
func Build(t testing.TB, tags ...string) string {
	t.Helper()
	return build(t, dispatchPackage, tags...)
}

// BuildNATS is Build for nats-server, in the version that is embedded
// elsewhere.
func BuildNATS(t testing.TB) string {
	t.Helper()
	return build(t, natsPackage)
}

var (
	builds    = map[string]func() (string, error){}
	buildsMu  sync.Mutex
	buildsDir = sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "dispatch-test-")
		if err != nil {
			return "", err
		}
		_, err = process.RemoveAtDeath(dir)
		return dir, err
	})
)

func build(t testing.TB, pkg string, tags ...string) string {
	t.Helper()
	list := strings.Join(tags, ",")
	buildsMu.Lock()
	once := builds[pkg+" "+list]
	if once == nil {
		number := len(builds)
		once = sync.OnceValues(func() (string, error) { return goBuild(pkg, list, number) })
		builds[pkg+" "+list] = once
	}
	buildsMu.Unlock()
	path, err := once()
	if err != nil {
		t.Fatalf("build %s: %v", pkg, err)
	}
	return path
}

func goBuild(pkg, tags string, number int) (string, error) {
	dir, err := buildsDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, fmt.Sprintf("%d-%s", number, filepath.Base(strings.TrimSuffix(pkg, "/v2"))))
	cmd := exec.Command("go", "build", "-tags", tags, "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}
