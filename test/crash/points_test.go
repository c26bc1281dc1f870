package crash_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

var update = flag.Bool("update", false, "write the generated parts of the documentation anew")

// point is a failpoint as its declaration describes it.
type point struct {
	section string // the doc comment of its block
	name    string
	meaning string
}

// points reads the list of all failpoints from its source.
func points(t *testing.T) []point {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../pkg/failpoint/points.go", nil, parser.ParseComments)
	require.NoError(t, err)
	var list []point
	for _, declaration := range file.Decls {
		block, ok := declaration.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST {
			continue
		}
		for _, spec := range block.Specs {
			constant := spec.(*ast.ValueSpec)
			value, err := strconv.Unquote(constant.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			name := constant.Names[0].Name
			meaning := strings.Join(strings.Fields(constant.Doc.Text()), " ")
			require.True(t, strings.HasPrefix(meaning, name+" lies between "), "%s: its comment must say what it lies between", name)
			list = append(list, point{
				section: strings.TrimSuffix(strings.TrimSpace(block.Doc.Text()), "."),
				name:    value,
				meaning: strings.TrimPrefix(meaning, name+" lies "),
			})
		}
	}
	require.NotEmpty(t, list)
	return list
}

func TestFailpointsAreDocumented(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	section := ""
	for _, p := range points(t) {
		if p.section != section {
			section = p.section
			fmt.Fprintf(&table, "\n%s:\n\n| failpoint | lies |\n|---|---|\n", section)
		}
		fmt.Fprintf(&table, "| `%s` | %s |\n", p.name, p.meaning)
	}
	const path, begin, end = "../../docs/RELIABILITY.md", "<!-- failpoints: written by `go test ./test/crash -run TestFailpointsAreDocumented -update` -->\n", "\n<!-- /failpoints -->"
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	head, rest, found := strings.Cut(string(written), begin)
	require.True(t, found)
	_, tail, found := strings.Cut(rest, end)
	require.True(t, found)
	generated := head + begin + table.String() + end + tail
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(generated), 0o644))
		return
	}
	require.Equal(t, generated, string(written), "docs/RELIABILITY.md: run the test with -update")
}

// A normal build holds no failpoint: no name, and no function. A build with the
// tag holds all of them, which shows that this test can find them.
func TestAReleaseHoldsNoFailpoint(t *testing.T) {
	t.Parallel()
	release, err := os.ReadFile(testenv.Build(t))
	require.NoError(t, err)
	armed, err := os.ReadFile(testenv.Build(t, "failpoints"))
	require.NoError(t, err)
	for _, p := range points(t) {
		require.False(t, bytes.Contains(release, []byte(p.name)), "the release holds the name %s", p.name)
		require.True(t, bytes.Contains(armed, []byte(p.name)), "nothing passes %s", p.name)
	}
	const at = "pkg/failpoint.At"
	require.NotContains(t, symbols(t, testenv.Build(t)), at)
	require.Contains(t, symbols(t, testenv.Build(t, "failpoints")), at)
}

func symbols(t *testing.T, program string) string {
	t.Helper()
	out, err := exec.Command("go", "tool", "nm", program).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}
