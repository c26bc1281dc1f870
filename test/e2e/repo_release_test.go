package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
)

// git runs git in a directory and returns what it prints.
func git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(errOut.Bytes()))
	}
	return strings.TrimSpace(out.String()), nil
}

// previousRelease is what the checkout in dir is upgraded from: the newest
// tag v* among HEAD's ancestors, or HEAD itself before the first release.
func previousRelease(dir string) (string, error) {
	shallow, err := git(dir, "rev-parse", "--is-shallow-repository")
	if err != nil {
		return "", fmt.Errorf("the release before this one is looked up in the git history, and there is none: %w", err)
	}
	if shallow == "true" {
		return "", errors.New("the release before this one can't be looked up: this clone is shallow; run: git fetch --unshallow --tags")
	}
	head, err := git(dir, "rev-parse", "HEAD")
	if err != nil {
		return "", err
	}
	tags, err := git(dir, "tag", "--merged", "HEAD", "--list", "v*", "--sort=-version:refname")
	if err != nil {
		return "", err
	}
	for _, tag := range strings.Fields(tags) {
		commit, err := git(dir, "rev-parse", tag+"^{commit}")
		if err != nil {
			return "", err
		}
		if commit != head { // a release is upgraded to from the one before it
			return tag, nil
		}
	}
	return "HEAD", nil
}

// builtPrevious is the program of the release before this one, and which one
// that is. It is built once; its directory goes with the test process.
var builtPrevious = sync.OnceValues(func() (release [2]string, err error) {
	tag, err := previousRelease("../..")
	if err != nil {
		return release, err
	}
	dir, err := os.MkdirTemp("", "dispatch-previous-")
	if err != nil {
		return release, err
	}
	if _, err := process.RemoveAtDeath(dir); err != nil {
		return release, err
	}
	archive := filepath.Join(dir, "source.tar")
	root, err := git("../..", "rev-parse", "--show-toplevel") // an archive holds what is below the directory it is made in
	if err != nil {
		return release, err
	}
	if _, err := git(root, "archive", "--output="+archive, tag); err != nil {
		return release, err
	}
	binary := filepath.Join(dir, "dispatch")
	for _, cmd := range []*exec.Cmd{
		exec.Command("tar", "-xf", archive, "-C", dir),
		exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/dispatch"),
	} {
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK="+filepath.Join(dir, "go.work"))
		if out, err := cmd.CombinedOutput(); err != nil {
			return release, fmt.Errorf("build %s: %w\n%s", tag, err, out)
		}
	}
	return [2]string{tag, binary}, nil
})

func TestTheReleaseBeforeThisOneIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		_, err := git(dir, append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"}, args...)...)
		require.NoError(t, err)
	}
	commit := func() { t.Helper(); run("commit", "--allow-empty", "-qm", "x") }
	is := func(want string) {
		t.Helper()
		got, err := previousRelease(dir)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := previousRelease(dir)
	require.ErrorContains(t, err, "git history")
	run("init", "-q")
	commit()
	is("HEAD")
	run("tag", "v0.9.0")
	is("HEAD")
	commit()
	is("v0.9.0")
	run("tag", "-a", "v0.10.0", "-m", "annotated")
	is("v0.9.0")
	commit()
	is("v0.10.0")
	run("checkout", "-q", "-b", "elsewhere")
	commit()
	run("tag", "v2.0.0")
	run("checkout", "-q", "main")
	is("v0.10.0")

	clone := filepath.Join(t.TempDir(), "shallow")
	_, err = git(dir, "clone", "-q", "--depth=1", "file://"+dir, clone)
	require.NoError(t, err)
	_, err = previousRelease(clone)
	require.ErrorContains(t, err, "git fetch --unshallow --tags")
}
