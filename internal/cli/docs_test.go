package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheDocumentsNameCommandsThatThereAre parses whatever stands between
// backticks and begins with dispatch, flags included.
func TestTheDocumentsNameCommandsThatThereAre(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	command := regexp.MustCompile("`(?:[A-Z_]+=\\S* )*(?:bin/)?dispatch ([^`\n]+)`")
	found := 0
	for _, path := range append(documents, "../../README.md") {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, match := range command.FindAllStringSubmatch(string(text), -1) {
			found++
			line := strings.NewReplacer("FILE", "x", "DIR", "x").Replace(match[1])
			cmd, args, err := newRoot(nil, nil, nil).Find(strings.Fields(line))
			require.NoError(t, err, "%s: %s", path, match[0])
			require.True(t, cmd.HasParent() || strings.HasPrefix(line, "--"), "%s: %s", path, match[0])
			if last := args; len(last) > 0 && strings.HasPrefix(last[len(last)-1], "--") && !strings.Contains(last[len(last)-1], "=") {
				// A flag that is named without its value.
				cmd.InitDefaultHelpFlag()
				require.NotNil(t, cmd.Flags().Lookup(strings.TrimPrefix(last[len(last)-1], "--")), "%s: %s", path, match[0])
				args = last[:len(last)-1]
			}
			require.NoError(t, cmd.ParseFlags(args), "%s: %s", path, match[0])
		}
	}
	require.Greater(t, found, 10)
}
