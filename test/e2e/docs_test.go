package e2e_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// commands says of every block of shell commands in the documentation which
// test of this package, or of the command's, runs it, or why none does. A block is named by its
// file, the title of its section, and its place there.
var commands = map[string]struct{ runBy, notRun string }{
	"README.md: Run it 1":              {runBy: "TestMakeRunIsTheOneCommand"}, // but for make test, which runs this
	"README.md: A first message 1":     {runBy: "TestTheFirstMessagesOfTheREADME"},
	"README.md: A first message 2":     {runBy: "TestTheFirstMessagesOfTheREADME"},
	"README.md: A first message 3":     {runBy: "TestTheFirstMessagesOfTheREADME"},
	"README.md: A first message 4":     {runBy: "TestTheFirstMessagesOfTheREADME"},
	"README.md: On several machines 1": {notRun: "needs a Docker engine; TestTheComposeFileRunsEverything loads the file"},
	"README.md: On several machines 2": {runBy: "TestTheServicesOfTheREADME"},

	"BENCHMARKS.md: The hot paths alone 1": {notRun: "measures, with benchstat from the network"},

	"RELIABILITY.md: Upgrades, backup and restore 1": {notRun: "runs tests, as make test does"},

	"MIGRATING.md: From the original go-message-dispatcher 1": {runBy: "TestTheCommandsOfMIGRATING"},
	"MIGRATING.md: From the original go-message-dispatcher 2": {runBy: "TestTheCommandsOfMIGRATING"},
	"MIGRATING.md: From the original go-message-dispatcher 3": {runBy: "TestTheCommandsOfMIGRATING"},
	"MIGRATING.md: From the original go-message-dispatcher 4": {runBy: "TestTheCommandsOfMIGRATING"},
}

// documents are the files that people read.
func documents(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, docs)
	return append([]string{"../../README.md"}, docs...)
}

// part is a title, or a block with its language.
var part = regexp.MustCompile("(?ms)^#+ ([^\n]*)$|^[ \t]*```(\\w*)[^\n]*\n(.*?)^[ \t]*```") //nolint:gocritic // each ^ begins a line

// shellBlocks returns the blocks of shell commands of all documents.
func shellBlocks(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, path := range documents(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		title, count := "", 0
		for _, match := range part.FindAllStringSubmatch(string(text), -1) {
			switch {
			case match[1] != "":
				title, count = match[1], 0
			case slices.Contains([]string{"sh", "bash", "shell", "console", ""}, match[2]):
				count++
				found[fmt.Sprintf("%s: %s %d", filepath.Base(path), title, count)] = match[3]
			}
		}
	}
	return found
}

// commandsOf returns the blocks that the table says the test runs, in their
// order.
func commandsOf(t *testing.T) []string {
	t.Helper()
	var blocks []string
	all := shellBlocks(t)
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		if commands[name].runBy == t.Name() {
			blocks = append(blocks, all[name])
		}
	}
	require.NotEmpty(t, blocks)
	return blocks
}

// TestEveryCommandOfTheDocumentsIsRun holds the table against the documents
// and against the tests that it names, both ways.
func TestEveryCommandOfTheDocumentsIsRun(t *testing.T) {
	t.Parallel()
	blocks := shellBlocks(t)
	for name, block := range blocks {
		c, known := commands[name]
		require.True(t, known, "have a test run this, and say in the table which:\n%s\n%s", name, block)
		require.NotEqual(t, c.runBy == "", c.notRun == "", "%s: a test, or a reason why there is none", name)
	}
	runs := testsThatRunCommands(t)
	for name, c := range commands {
		require.Contains(t, blocks, name, "the table knows more than there is")
		if c.runBy != "" {
			require.Contains(t, runs, c.runBy, "%s: there is no such test, or it does not ask for its commands", name)
		}
	}
}

// testsThatRunCommands lists the tests of this package that call commandsOf,
// and those of the command's that run a whole document.
func testsThatRunCommands(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	files = append(files, "../../internal/legacyimport/docs_test.go")
	var names []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		for _, declaration := range parsed.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Test") {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if called, ok := n.(*ast.Ident); ok && slices.Contains([]string{"commandsOf", "commandsOfDocument"}, called.Name) {
					names = append(names, f.Name.Name)
				}
				return true
			})
		}
	}
	return names
}

// TestTheProseNamesTargetsThatThereAre looks at what stands between
// backticks: a make target must be one of the Makefile.
func TestTheProseNamesTargetsThatThereAre(t *testing.T) {
	t.Parallel()
	_, targets := makefile(t)
	for _, path := range documents(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, command := range regexp.MustCompile("`[^`\n]*\\bmake ([a-z-]+)[^`\n]*`").FindAllStringSubmatch(string(text), -1) {
			require.Contains(t, targets, command[1], "%s: %s", path, command[0])
		}
	}
}
