package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"
)

// releaseConfig is what the tests below read of .goreleaser.yaml.
type releaseConfig struct {
	Builds []struct {
		Main    string
		LDFlags []string
	}
	Archives []struct{ Files []string }
	NFPMs    []struct {
		Formats  []string
		Contents []struct{ Src, Dst, Type string }
		Scripts  map[string]string
	}
}

func readReleaseConfig(t *testing.T) releaseConfig {
	t.Helper()
	text, err := os.ReadFile("../../.goreleaser.yaml")
	require.NoError(t, err)
	var config releaseConfig
	require.NoError(t, yaml.Unmarshal(text, &config))
	return config
}

// TestTheReleaseContainsWhatItNames does what `goreleaser check` does not: every
// file that a release contains exists.
func TestTheReleaseContainsWhatItNames(t *testing.T) {
	t.Parallel()
	config := readReleaseConfig(t)
	require.Len(t, config.Builds, 1)
	require.Len(t, config.Archives, 1)
	require.Len(t, config.NFPMs, 1)
	named := append([]string{config.Builds[0].Main}, config.Archives[0].Files...)
	for _, content := range config.NFPMs[0].Contents {
		named = append(named, content.Src)
	}
	for _, script := range config.NFPMs[0].Scripts {
		named = append(named, script)
		info, err := os.Stat(filepath.Join("..", "..", script))
		require.NoError(t, err)
		require.NotZero(t, info.Mode()&0o100, "%s is executable", script)
	}
	for _, pattern := range named {
		files, err := filepath.Glob(filepath.Join("..", "..", pattern))
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
	}
	require.Len(t, config.Builds[0].LDFlags, 1)
	symbol := regexp.MustCompile(`-X (\S+)=`).FindStringSubmatch(config.Builds[0].LDFlags[0])
	require.NotNil(t, symbol)
	makefile, _ := makefile(t)
	require.Contains(t, makefile, strings.ReplaceAll(symbol[1], "github.com/message-dispatcher/dispatch", "$(MODULE)"), "make build and make release set the same version")
}

// TestTheImageIsBuiltFromAllThatTheProgramNeeds compares .dockerignore with the
// packages of the program.
func TestTheImageIsBuiltFromAllThatTheProgramNeeds(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../.dockerignore")
	require.NoError(t, err)
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if .Module}}{{if .Module.Main}}{{.Dir}}{{end}}{{end}}", "./cmd/dispatch")
	list.Dir, list.Env = root, append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	folders, err := list.Output()
	require.NoError(t, err)
	needed := map[string]bool{"go.mod": true, "go.sum": true}
	for folder := range strings.FieldsSeq(string(folders)) {
		relative, err := filepath.Rel(root, folder)
		require.NoError(t, err)
		first, _, _ := strings.Cut(filepath.ToSlash(relative), "/")
		needed[first] = true
	}
	require.Greater(t, len(needed), 4)
	lines := strings.Split(string(text), "\n")
	for name := range needed {
		require.Contains(t, lines, "!"+name)
	}
}

// TestEachUnitStartsAServiceWithTheInstalledSettings holds the units against
// the command, and against what the packages install.
func TestEachUnitStartsAServiceWithTheInstalledSettings(t *testing.T) {
	t.Parallel()
	var installed []string
	for _, content := range readReleaseConfig(t).NFPMs[0].Contents {
		installed = append(installed, content.Dst)
		if content.Dst == "/etc/dispatch/dispatch.env" {
			require.Equal(t, "config|noreplace", content.Type, "an upgrade keeps the settings")
		}
	}
	units, err := filepath.Glob("../../infra/systemd/*.service")
	require.NoError(t, err)
	var started []string
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		require.NoError(t, err)
		command := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/dispatch (\w+)$`).FindStringSubmatch(string(text))
		require.NotNil(t, command, unit)
		started = append(started, command[1])
		require.Equal(t, "dispatch-"+command[1]+".service", filepath.Base(unit))
		file := regexp.MustCompile(`(?m)^EnvironmentFile=([^-].*)$`).FindStringSubmatch(string(text))
		require.NotNil(t, file, unit)
		require.Contains(t, installed, file[1])
		require.Contains(t, string(text), "\nUser=dispatch\n")
		require.Equal(t, command[1] != "provision", strings.Contains(string(text), "\n[Install]\n"), "%s: what runs once can't be enabled", unit)
	}
	slices.Sort(started)
	require.Equal(t, []string{"dispatcher", "ingest", "provision", "sender"}, started)

	example, err := os.ReadFile("../../infra/systemd/dispatch.env")
	require.NoError(t, err)
	var known []string
	for _, s := range allSettings() {
		known = append(known, s.Name)
	}
	names := regexp.MustCompile(`(?m)^#?([A-Z_]+)=`).FindAllStringSubmatch(string(example), -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		require.Contains(t, known, name[1])
	}
}
