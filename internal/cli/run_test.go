package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
	"github.com/message-dispatcher/dispatch/internal/up"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
)

func TestUpAndHealth(t *testing.T) {
	t.Setenv("DATABASE_URL", dbtest.URL(t))
	t.Setenv("HTTP_ADDR", embeddedtest.FreeAddr(t))
	t.Setenv("NATS_LISTEN", embeddedtest.FreeAddr(t))
	t.Setenv("WEBHOOK_URL", "")
	dispatch(t, "health").Fails(t, 3, "no answer from http://")

	process := background(t, "up", "--json", "--data", embeddedtest.Dir(t))
	require.Eventually(t, func() bool { return strings.HasSuffix(process.Out.String(), "\n") }, patience, pause, "%s", &process.ErrOut)
	var at up.Addresses
	require.NoError(t, json.Unmarshal([]byte(process.Out.String()), &at))
	require.Contains(t, at.API, os.Getenv("HTTP_ADDR"))

	require.Equal(t, "ok", clitest.Field(dispatch(t, "health").OK(t), "postgres"))
	var health struct {
		Status string
		Checks map[string]struct{ Status string }
	}
	require.Eventually(t, func() bool { // a dependency that is slow at first is degraded, and the whole is ready all the same
		require.NoError(t, json.Unmarshal([]byte(dispatch(t, "health", "--url", at.API, "--json").OK(t)), &health))
		return health.Status == "ok"
	}, patience, pause, "%v", &health)
	require.Equal(t, "ok", health.Checks["postgres"].Status)
	require.Equal(t, "ok", health.Checks["sender.nats"].Status)
	require.Equal(t, 0, process.Interrupt(), "%s", &process.ErrOut)
}

func TestHealthOfSomethingElse(t *testing.T) {
	t.Parallel()
	answer, status := `{"status":"down","checks":{"postgres":{"status":"down","detail":"not reachable"}}}`, http.StatusServiceUnavailable
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	down := dispatch(t, "health", "--url", server.URL)
	down.Fails(t, 1, "not ready")
	require.Contains(t, down.Out, "not reachable")
	answer, status = "<html>", http.StatusOK
	dispatch(t, "health", "--url", server.URL).Fails(t, 1, "not a service of Message Dispatcher")
	dispatch(t, "list", "--url", server.URL).Fails(t, 1, "read response")
	status = http.StatusBadGateway
	dispatch(t, "list", "--url", server.URL).Fails(t, 3, "returned status 502")
	status = http.StatusUnauthorized
	dispatch(t, "list", "--url", server.URL).Fails(t, 1, "DISPATCH_API_KEY")
}

func TestSink(t *testing.T) {
	t.Parallel()
	addr := embeddedtest.FreeAddr(t)
	sink := background(t, "receiver", "--addr", addr, "--json")
	require.Eventually(t, func() bool { return strings.Contains(sink.Out.String(), `{"listening":"http://`+addr+`"}`) }, patience, pause)
	response, err := http.Post("http://"+addr, "application/json", strings.NewReader(`{"a":1}`))
	require.NoError(t, err)
	response.Body.Close()
	require.Contains(t, sink.Out.String(), `"body":"{\"a\":1}"`)

	dispatch(t, "receiver", "--addr", addr).Fails(t, 1, "--addr "+addr)
	dispatch(t, "receiver", "--fail-rate", "2").Fails(t, 2, "from 0 to 1")
	dispatch(t, "receiver", "--status", "200").Fails(t, 2, "from 300 to 599")
	require.Equal(t, 0, sink.Interrupt())
}

// everyCommand lists the commands below one, but cobra's help.
func everyCommand(cmd *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, sub := range cmd.Commands() {
		if sub.Name() != "help" && sub.Parent().Name() != "completion" {
			all = append(append(all, sub), everyCommand(sub)...)
		}
	}
	return all
}

func TestEveryCommandHasAnExample(t *testing.T) {
	t.Parallel()
	commands := everyCommand(newRoot(nil, nil, nil))
	require.NotEmpty(t, commands)
	for _, cmd := range commands {
		args := append(strings.Fields(cmd.CommandPath()), "--help")
		help := dispatch(t, args[1:]...).OK(t)
		require.Contains(t, help, "Examples:\n  ", cmd.CommandPath())
		require.Contains(t, help, "dispatch "+strings.Fields(cmd.CommandPath())[1], cmd.CommandPath())
	}
}

// TestEveryCommandPrintsJSON leaves out what prints its log alone.
func TestEveryCommandPrintsJSON(t *testing.T) {
	t.Parallel()
	for _, cmd := range everyCommand(newRoot(nil, nil, nil)) {
		switch cmd.Name() {
		case "ingest", "dispatcher", "sender", "provision", "completion": // LOG_FORMAT=json; a script for a shell
		default:
			require.True(t, cmd.HasSubCommands() || cmd.Flags().Lookup("json") != nil, cmd.CommandPath())
		}
	}
}

func TestTheCommandItself(t *testing.T) {
	t.Parallel()
	require.Contains(t, dispatch(t).OK(t), "Exit codes: 0 done")
	require.Contains(t, dispatch(t, "--version").OK(t), "dispatch version")
	dispatch(t, "stauts").Fails(t, 2, `"stauts"`, "Did you mean start or status?")
	dispatch(t, "nonsense").Fails(t, 2, "dispatch --help")
	dispatch(t, "--colour").Fails(t, 2, "--colour")
	dispatch(t, "cancel").Fails(t, 2, "Usage: dispatch cancel ID…")
	for _, url := range []string{"nowhere", "localhost:8080", "http://", "ftp://x", "http://a b"} {
		dispatch(t, "list", "--url", url).Fails(t, 2, "must be a URL such as http://127.0.0.1:8080")
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		require.Contains(t, dispatch(t, "completion", shell).OK(t), "dispatch")
	}
	dispatch(t, "completion").Fails(t, 2, "bash, fish, powershell, zsh")
	dispatch(t, "completion", "csh").Fails(t, 2, "no csh")
	require.Contains(t, dispatch(t, "__complete", "list", "--status", "").OK(t), "RETRYING\n")
	require.Contains(t, dispatch(t, "__complete", "tail", "--type", "").OK(t), "rejected\n")
}
