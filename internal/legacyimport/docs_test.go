package legacyimport_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/natsd"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// commandsOfDocument returns all shell commands of a document.
func commandsOfDocument(t *testing.T, name string) [][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	require.NoError(t, err)
	return regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1)
}

// TestTheCommandsOfMIGRATING runs every command of docs/MIGRATING.md as it
// stands; the addresses of two local databases are put for those of two others.
func TestTheCommandsOfMIGRATING(t *testing.T) {
	blocks := commandsOfDocument(t, "MIGRATING.md")
	require.Len(t, blocks, 4)

	from := original(t, originalTable, `INSERT INTO messages (id, phone_number, content, status) VALUES
		('7d0c6c6e-0000-4000-8000-000000000001', '+905551234567', 'waits', 'PENDING'),
		('7d0c6c6e-0000-4000-8000-000000000002', '+905551234567', 'was sent', 'SENT')`)
	target := dbtest.EmptyURL(t)
	nats := embeddedtest.FreeAddr(t)
	server, err := natsd.Start(natsd.Config{Listen: nats, Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(server.Stop)

	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o700))
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "bin", "dispatch"), "../../cmd/dispatch")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	there, err := url.Parse(withoutPool(t, target))
	require.NoError(t, err)
	password, _ := there.User.Password()
	created := strings.TrimPrefix(there.Path, "/")
	script := strings.NewReplacer(
		"createdb dispatch", "dropdb "+created+"\ncreatedb "+created, // dbtest drops it by its name
		"postgres:///dispatch", target,
		"postgres:///message_dispatcher", "'"+from+"'",
	).Replace(strings.ReplaceAll(join(blocks), "DATABASE_URL=postgres:///dispatch", "DATABASE_URL='"+target+"'"))
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NATS_URL=nats://"+nats, "LOG_LEVEL=error",
		"PGHOST="+there.Hostname(), "PGPORT="+there.Port(), "PGUSER="+there.User.Username(), "PGPASSWORD="+password)
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, out)
	require.Contains(t, string(out), "2 read: 2 to import (1 PENDING, 1 SENT, 0 FAILED)")
	require.Contains(t, string(out), "2 read: 2 imported (1 PENDING, 1 SENT, 0 FAILED)")

	list := stored(t, target)
	require.Len(t, list, 2)
	require.ElementsMatch(t, []message.Status{message.Pending, message.Sent}, []message.Status{list[0].Status, list[1].Status})
}

func join(blocks [][]string) string {
	var script strings.Builder
	for _, block := range blocks {
		script.WriteString(block[1])
	}
	return script.String()
}
