package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
)

// pause is what lies between two looks at something.
const pause = 20 * time.Millisecond

// running is a command line that runs until it is interrupted.
type running struct {
	out, errOut output
	cancel      context.CancelFunc
	code        chan int
}

func background(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel, code: make(chan int, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.code <- Execute(ctx, args, strings.NewReader(""), &r.out, &r.errOut)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return r
}

// interrupt is what Ctrl-C does, and returns the exit code.
func (r *running) interrupt() int {
	r.cancel()
	return <-r.code
}

func TestUpAndHealth(t *testing.T) {
	t.Setenv("DATABASE_URL", dbtest.URL(t))
	t.Setenv("HTTP_ADDR", freeAddr(t))
	t.Setenv("NATS_LISTEN", freeAddr(t))
	t.Setenv("WEBHOOK_URL", "")
	dispatch(t, "health").fails(t, 3, "no answer from http://")

	up := background(t, "up", "--json", "--data", embeddedtest.Dir(t))
	require.Eventually(t, func() bool { return strings.HasSuffix(up.out.String(), "\n") }, patience, pause, "%s", &up.errOut)
	var at addresses
	require.NoError(t, json.Unmarshal([]byte(up.out.String()), &at))
	require.Contains(t, at.API, os.Getenv("HTTP_ADDR"))

	require.Equal(t, "ok", field(dispatch(t, "health").ok(t), "postgres"))
	var health struct {
		Status string
		Checks map[string]struct{ Status string }
	}
	require.Eventually(t, func() bool { // a dependency that is slow at first is degraded, and the whole is ready all the same
		require.NoError(t, json.Unmarshal([]byte(dispatch(t, "health", "--url", at.API, "--json").ok(t)), &health))
		return health.Status == "ok"
	}, patience, pause, "%v", &health)
	require.Equal(t, "ok", health.Checks["postgres"].Status)
	require.Equal(t, "ok", health.Checks["sender.nats"].Status)
	require.Equal(t, 0, up.interrupt(), "%s", &up.errOut)
}

func TestUpAndTheServicesTellMistakesInTheirConfiguration(t *testing.T) {
	t.Setenv("HTTP_ADDR", "nowhere")
	t.Setenv("DATABASE_URL", "")
	dispatch(t, "up", "--data", embeddedtest.Dir(t)).fails(t, 2, "HTTP_ADDR")
	for _, name := range []string{"ingest", "dispatcher", "sender", "provision"} {
		dispatch(t, name).fails(t, 2) // every mistake is on the process's own stderr
		dispatch(t, name, "now").fails(t, 2, name+" --help")
	}
}

// TestTheServices runs each one until the signal that ends a container.
func TestTheServices(t *testing.T) {
	i := startUp(t)
	t.Setenv("DATABASE_URL", i.database)
	t.Setenv("NATS_URL", i.nats)
	t.Setenv("WEBHOOK_URL", i.webhook.URL)
	t.Setenv("LOG_LEVEL", "error")
	for _, name := range []string{"ingest", "dispatcher", "sender"} {
		t.Setenv("HTTP_ADDR", freeAddr(t))
		t.Setenv("HEALTH_ADDR", freeAddr(t))
		s := background(t, name)
		require.Eventually(t, func() bool { return dispatch(t, "health").code == 0 }, patience, pause, name)
		require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
		require.Equal(t, 0, <-s.code, name)
	}
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
	down.fails(t, 1, "not ready")
	require.Contains(t, down.out, "not reachable")
	answer, status = "<html>", http.StatusOK
	dispatch(t, "health", "--url", server.URL).fails(t, 1, "no service of this system")
	dispatch(t, "list", "--url", server.URL).fails(t, 1, "read answer")
	status = http.StatusBadGateway
	dispatch(t, "list", "--url", server.URL).fails(t, 3, "answered 502")
	status = http.StatusUnauthorized
	dispatch(t, "list", "--url", server.URL).fails(t, 1, "DISPATCH_API_KEY")
}

func TestSink(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	sink := background(t, "sink", "--addr", addr, "--json")
	require.Eventually(t, func() bool { return strings.Contains(sink.out.String(), `{"listening":"http://`+addr+`"}`) }, patience, pause)
	response, err := http.Post("http://"+addr, "application/json", strings.NewReader(`{"a":1}`))
	require.NoError(t, err)
	response.Body.Close()
	require.Contains(t, sink.out.String(), `"body":"{\"a\":1}"`)

	dispatch(t, "sink", "--addr", addr).fails(t, 1, "--addr "+addr)
	dispatch(t, "sink", "--fail-rate", "2").fails(t, 2, "from 0 to 1")
	dispatch(t, "sink", "--status", "200").fails(t, 2, "from 300 to 599")
	require.Equal(t, 0, sink.interrupt())
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
		help := dispatch(t, args[1:]...).ok(t)
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
	require.Contains(t, dispatch(t).ok(t), "Exit codes: 0 done")
	require.Contains(t, dispatch(t, "--version").ok(t), "dispatch version")
	dispatch(t, "stauts").fails(t, 2, `"stauts"`, "Did you mean start or status?")
	dispatch(t, "nonsense").fails(t, 2, "dispatch --help")
	dispatch(t, "--colour").fails(t, 2, "--colour")
	dispatch(t, "cancel").fails(t, 2, "Usage: dispatch cancel ID…")
	for _, url := range []string{"nowhere", "localhost:8080", "http://", "ftp://x", "http://a b"} {
		dispatch(t, "list", "--url", url).fails(t, 2, "must be a URL such as http://127.0.0.1:8080")
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		require.Contains(t, dispatch(t, "completion", shell).ok(t), "dispatch")
	}
	dispatch(t, "completion").fails(t, 2, "bash, fish, powershell, zsh")
	dispatch(t, "completion", "csh").fails(t, 2, "no csh")
	require.Contains(t, dispatch(t, "__complete", "list", "--status", "").ok(t), "RETRYING\n")
	require.Contains(t, dispatch(t, "__complete", "tail", "--type", "").ok(t), "rejected\n")
}
