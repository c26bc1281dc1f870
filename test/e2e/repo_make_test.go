package e2e_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
)

// makefile is the text of the Makefile, and targets are what its .PHONY names.
func makefile(t *testing.T) (text string, targets []string) {
	t.Helper()
	data, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	phony := regexp.MustCompile(`(?m)^\.PHONY: ((?:.*\\\n)*.*)$`).FindSubmatch(data)
	require.NotNil(t, phony)
	return string(data), strings.Fields(strings.ReplaceAll(string(phony[1]), "\\\n", " "))
}

// tree is a copy of the repository, in which a test may build and change
// what it likes.
type tree struct {
	t   *testing.T
	dir string
	env []string
}

func copyTree(t *testing.T, env ...string) tree {
	t.Helper()
	copied := tree{t: t, dir: t.TempDir(), env: env}
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		relative := strings.TrimPrefix(path, "../../")
		switch {
		case err != nil:
			return err
		case relative == ".git" || relative == "bin" || relative == "dist":
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(copied.dir, relative), 0o755)
		case !entry.Type().IsRegular():
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(copied.dir, relative), data, info.Mode().Perm())
	})
	require.NoError(t, err)
	return copied
}

// make runs make and returns its exit code and what it prints.
func (c tree) make(args ...string) (code int, out string) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "make", append([]string{"--no-print-directory"}, args...)...)
	cmd.Dir = c.dir
	// What a make above us passes on is not for this one.
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "MAKE") && !strings.HasPrefix(variable, "MFLAGS=") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, c.env...)
	printed := &embeddedtest.Output{}
	cmd.Stdout, cmd.Stderr = printed, printed
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(c.t, err)
	}
	return cmd.ProcessState.ExitCode(), printed.String()
}

func (c tree) makes(args ...string) string {
	c.t.Helper()
	code, out := c.make(args...)
	require.Zero(c.t, code, "make %v\n%s", args, out)
	return out
}

// refuses expects one line that says what is missing, next to make's own.
func (c tree) refuses(want string, args ...string) {
	c.t.Helper()
	code, out := c.make(args...)
	require.NotZero(c.t, code, "make %v\n%s", args, out)
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(out), "\n"), func(line string) bool {
		return strings.HasPrefix(line, "make") || strings.HasPrefix(line, "CGO_ENABLED=0 go build")
	})
	require.Len(c.t, lines, 1, "make %v\n%s", args, out)
	require.Contains(c.t, lines[0], want)
}

func TestMakeHelpListsEveryTarget(t *testing.T) {
	t.Parallel()
	text, targets := makefile(t)
	c := tree{t: t, dir: "../.."}
	help := c.makes("help")
	var listed []string
	for _, line := range strings.Split(strings.TrimSuffix(help, "\n"), "\n") {
		require.Regexp(t, `^  make [a-z-]+ +\S.*`, line)
		listed = append(listed, strings.Fields(line)[1])
	}
	require.ElementsMatch(t, targets, listed)
	require.Equal(t, help, c.makes(), "make alone is make help")
	for _, rule := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):[^=]`).FindAllStringSubmatch(text, -1) {
		require.Contains(t, targets, rule[1])
	}

	for _, step := range []string{"gofmt -l", "golangci-lint-v", "go mod tidy -diff", "go vet", "scripts/check-generated"} {
		require.Contains(t, c.makes("-n", "lint"), step)
	}
	for _, target := range []string{"test", "test-integration"} {
		require.Contains(t, c.makes("-n", target), "go test -race")
	}
}

// TestMakeInTheBackground is dev-up and dev-down, as one developing uses them.
func TestMakeInTheBackground(t *testing.T) {
	t.Parallel()
	dir, addr := embeddedtest.Dir(t), freeAddr(t)
	c := copyTree(t, "HTTP_ADDR="+addr, "NATS_LISTEN="+freeAddr(t), "PROCESSING_INTERVAL=0")
	args := []string{"dev-up", "ARGS=--data " + dir}
	t.Cleanup(func() { // also when it fails
		down := exec.Command("make", "dev-down")
		down.Dir = c.dir
		_ = down.Run()
	})
	require.Contains(t, c.makes(args...), "http://"+addr)
	require.Contains(t, c.makes(args...), "It runs already")

	api := &runningService{url: "http://" + addr}
	id := api.post(t, hello)
	upProcess{api: api}.awaitSent(t, id)

	require.Contains(t, c.makes("dev-down"), "Stopped")
	require.Empty(t, processesOf(t, dir))
	require.NotContains(t, c.makes("dev-down"), "Stopped", "there is nothing left to stop")
	require.NotEmpty(t, c.makes("clean"))
	require.NoDirExists(t, filepath.Join(c.dir, "bin"))

	c.env = append(c.env, "HTTP_ADDR=nowhere")
	code, out := c.make(args...)
	require.NotZero(t, code, "%s", out)
	require.Contains(t, out, `HTTP_ADDR="nowhere"`, "it says why it does not start")
}

// TestMakeMigrations takes a new step of the schema from its making to its
// being taken back.
func TestMakeMigrations(t *testing.T) {
	t.Parallel()
	c := copyTree(t, "DATABASE_URL="+dbtest.EmptyURL(t))
	c.refuses("NAME=add_something", "migrate-create")
	c.refuses("NAME=add_something", "migrate-create", "NAME=Add Something")
	var files []string
	for _, file := range strings.Fields(c.makes("migrate-create", "NAME=add_a_note")) {
		files = append(files, filepath.Join(c.dir, file))
	}
	require.Len(t, files, 2)
	require.NoError(t, os.WriteFile(files[0], []byte("CREATE TABLE note (text text);\n"), 0o600))
	require.NoError(t, os.WriteFile(files[1], []byte("DROP TABLE note;\n"), 0o600))
	number := strings.TrimLeft(filepath.Base(files[0])[:4], "0")

	require.Regexp(t, `(?m)^\S+ +`+number+`\b.*\n|version +`+number, c.makes("migrate-up"))
	c.refuses("--yes", "migrate-down")
	require.Contains(t, c.makes("migrate-down", "ARGS=--yes"), "behind")
	require.Contains(t, c.makes("migrate-up"), "up to date")

	c.env = []string{"DATABASE_URL="}
	code, out := c.make("migrate-up")
	require.NotZero(t, code)
	require.Contains(t, out, "DATABASE_URL: must be set")
}

func TestMakeTests(t *testing.T) {
	t.Parallel()
	c := copyTree(t)
	const few = "TESTFLAGS=-run TestChart"
	message := "PKGS=github.com/message-dispatcher/dispatch/pkg/message"
	require.Contains(t, c.makes("test-unit", few, message), "pkg/message")
	require.Regexp(t, `total:.*\d%`, c.makes("test-coverage", few, message))
	require.FileExists(t, filepath.Join(c.dir, "bin", "coverage.out"))
	unit := c.makes("-n", "test-unit")
	require.Contains(t, unit, "pkg/db/dbtest", "what needs a server is left out")
}

// TestMakeSaysWhatItLacks stands programs in that are not there, or can't
// work here.
func TestMakeSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	c := tree{t: t, dir: "../..", env: []string{"PATH=" + bin}}
	for _, name := range []string{"sh", "make", "git", "go"} {
		path, err := exec.LookPath(name)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(bin, name)))
	}
	standIn := func(path, script string) {
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	}
	c.refuses("docker-build needs docker", "docker-build")
	docker := filepath.Join(bin, "docker")
	standIn(docker, "exit 1")
	c.refuses("docker-build needs a running docker engine", "docker-build")
	standIn(docker, `[ "$1" = info ] || echo "asked: $*"`)
	require.Regexp(t, `asked: build -f infra/Dockerfile --build-arg VERSION=\S+ -t message-dispatcher:latest \.`, c.makes("docker-build"))

	version := regexp.MustCompile(`(?m)^GOVULNCHECK_VERSION\s*:=\s*(\S+)`)
	text, _ := makefile(t)
	vulncheck := filepath.Join(bin, "govulncheck-"+version.FindStringSubmatch(text)[1])
	standIn(vulncheck, "exit 1")
	code, out := c.make("vuln", "TOOLS="+bin)
	require.NotZero(t, code)
	require.Equal(t, 1, strings.Count(out, "vuln needs https://vuln.go.dev"), "%s", out)
	standIn(vulncheck, "exit 3") // it found something, and says so itself
	code, out = c.make("vuln", "TOOLS="+bin)
	require.NotZero(t, code)
	require.NotContains(t, out, "vuln needs")
	standIn(vulncheck, "exit 0")
	require.Contains(t, c.makes("vuln", "TOOLS="+bin), "vulnerabilities: ./test")

	for _, purpose := range []string{"run", "test"} {
		done, err := exec.CommandContext(t.Context(), "../../scripts/deps", purpose).CombinedOutput()
		require.NoError(t, err)
		require.Empty(t, string(done), "where nothing is missing there is nothing to say")
	}
}
