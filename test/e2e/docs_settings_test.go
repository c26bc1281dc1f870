package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/provision"
	"github.com/message-dispatcher/dispatch/internal/up"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/dispatcher"
	"github.com/message-dispatcher/dispatch/services/ingest"
	"github.com/message-dispatcher/dispatch/services/sender"
)

var update = flag.Bool("update", false, "write the generated parts of the documentation anew")

// users are the programs that read settings, in the order of the table.
var users = []struct {
	name   string
	config any
}{
	{"provision", provision.Config{}},
	{"ingest", ingest.Config{}},
	{"dispatcher", dispatcher.Config{}},
	{"sender", sender.Config{}},
	{"up", up.Config{}},
}

type setting struct {
	settings.Variable
	readBy []string
}

// allSettings lists every variable once, with who reads it. `up` reads all.
func allSettings() []setting {
	var list []setting
	at := map[string]int{}
	for _, user := range users {
		for _, variable := range settings.Describe(user.config) {
			i, known := at[variable.Name]
			if !known {
				i = len(list)
				at[variable.Name] = i
				list = append(list, setting{Variable: variable})
			}
			if user.name != "up" || !known {
				list[i].readBy = append(list[i].readBy, user.name)
			}
		}
	}
	return list
}

func TestSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	var table, example strings.Builder
	table.WriteString("| variable | default | read by | meaning |\n|---|---|---|---|\n")
	example.WriteString("# Every setting with its default. Copy to .env, or set the variables.\n")
	for _, s := range allSettings() {
		value := ""
		if s.Default != "" {
			value = "`" + s.Default + "`"
		}
		readBy := strings.Join(s.readBy, ", ")
		if len(s.readBy) == len(users)-1 {
			readBy = "all"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", s.Name, value, readBy, strings.ReplaceAll(s.Help, "|", `\|`))
		fmt.Fprintf(&example, "\n# %s\n# read by: %s\n#%s=%s\n", s.Help, readBy, s.Name, s.Default)
	}

	const begin, end = "-update` -->\n", "<!-- /settings -->"
	page, err := os.ReadFile("../../docs/CONFIGURATION.md")
	require.NoError(t, err)
	head, rest, found := strings.Cut(string(page), begin)
	require.True(t, found)
	_, tail, found := strings.Cut(rest, end)
	require.True(t, found)
	generated := head + begin + table.String() + end + tail
	if *update {
		require.NoError(t, os.WriteFile("../../docs/CONFIGURATION.md", []byte(generated), 0o644))
		require.NoError(t, os.WriteFile("../../.env.example", []byte(example.String()), 0o644))
		return
	}
	written, err := os.ReadFile("../../.env.example")
	require.NoError(t, err)
	require.Equal(t, generated, string(page), "docs/CONFIGURATION.md: run the test with -update")
	require.Equal(t, example.String(), string(written), ".env.example: run the test with -update")
}
