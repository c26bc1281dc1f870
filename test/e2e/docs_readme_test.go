package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// shell runs commands of the README, with the program in bin/ and the nats
// tool in the PATH.
func shell(t *testing.T, script string, env ...string) {
	t.Helper()
	out, err := shellCommand(t, script, env...).CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, out)
}

func shellCommand(t *testing.T, script string, env ...string) *exec.Cmd {
	t.Helper()
	natsTool, err := natsBinary()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o700))
	require.NoError(t, os.Symlink(testenv.Build(t), filepath.Join(dir, "bin", "dispatch")))
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), append(env,
		"PATH="+filepath.Dir(natsTool)+":"+os.Getenv("PATH"), "XDG_CONFIG_HOME="+dir)...)
	return cmd
}

func TestTheFirstMessagesOfTheREADME(t *testing.T) {
	t.Parallel()
	u := startUp(t, embeddedtest.Dir(t))
	api := u.api.url
	nats := regexp.MustCompile(`nats://\S+`).FindString(u.Output.String())
	env := []string{"NATS_URL=" + nats, "DISPATCH_URL=" + api}

	for _, block := range commandsOf(t) {
		script := strings.ReplaceAll(block, "http://127.0.0.1:8080", api)
		if strings.Contains(script, "nats sub") {
			// It shows the next event, so there has to be one.
			script = "(while sleep 0.2; do bin/dispatch send +905551111111 next >/dev/null; done) & trap 'kill %1' EXIT\n" + script
		}
		shell(t, script, env...)
	}

	for _, content := range []string{"Your order is on its way", "hello from NATS", "stored when this is answered", "hello from the command"} {
		testenv.Eventually(t, func() bool { return strings.Contains(u.Output.String(), content) },
			"%q does not arrive at the built-in receiver", content)
	}
	require.NoError(t, u.Terminate())
}

func TestTheServicesOfTheREADME(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	env := []string{"SHUTDOWN_TIMEOUT=20s", "LOG_LEVEL=warn"}
	for _, name := range []string{"DATABASE_URL", "NATS_URL", "WEBHOOK_URL", "WEBHOOK_TIMEOUT", "PROCESSING_INTERVAL"} {
		env = append(env, name+"="+w.env[name])
	}

	var script strings.Builder
	for line := range strings.Lines(commandsOf(t)[0]) {
		command, _, _ := strings.Cut(strings.TrimSpace(line), "#")
		if strings.Contains(command, "provision") {
			script.WriteString(command + "\n")
			continue
		}
		script.WriteString("HTTP_ADDR=" + freeAddr(t) + " " + command + "& \n")
	}
	script.WriteString("read -r _ < done\nkill $(jobs -p)\nwait\n")
	id := w.insert(draft())[0]
	finished := make(chan string, 1)
	fifo := filepath.Join(t.TempDir(), "done")
	require.NoError(t, exec.CommandContext(t.Context(), "mkfifo", fifo).Run())
	cmd := shellCommand(t, strings.ReplaceAll(script.String(), "< done", "< "+fifo), env...)
	go func() {
		out, err := cmd.CombinedOutput()
		finished <- fmt.Sprintf("%v\n%s", err, out)
	}()

	w.awaitStatus(id, message.Sent)
	require.NoError(t, os.WriteFile(fifo, []byte("\n"), 0o600))
	select {
	case outcome := <-finished:
		require.True(t, strings.HasPrefix(outcome, "<nil>"), outcome)
	case <-time.After(waitTimeout):
		require.FailNow(t, "the services do not stop")
	}
	list, err := w.store.List(t.Context(), db.Filter{Limit: 2})
	require.NoError(t, err)
	require.Len(t, list, 1)
}

// TestMakeRunIsTheOneCommand is the front door as a newcomer finds it.
func TestMakeRunIsTheOneCommand(t *testing.T) {
	t.Parallel()
	var front []string
	for line := range strings.Lines(commandsOf(t)[0]) {
		command, _, _ := strings.Cut(line, "#")
		front = append(front, strings.TrimSpace(command))
	}
	require.Equal(t, []string{"make run", "make test"}, front)
	dir, addr := embeddedtest.Dir(t), freeAddr(t)
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	out := &embeddedtest.Output{}
	ctx := t.Context()
	cmd := exec.CommandContext(ctx, "make", "run", "ARGS=--data "+dir)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "HTTP_ADDR="+addr, "NATS_LISTEN="+freeAddr(t), "PROCESSING_INTERVAL=0", "LOG_FORMAT=json")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	require.NoError(t, cmd.Start())
	testenv.EventuallyWithin(t, 5*testenv.WaitTimeout, func() bool { return strings.Contains(out.String(), "Ready.") }, "%s", out)

	api := &runningService{url: "http://" + addr}
	id := api.post(t, hello)
	testenv.Eventually(t, func() bool { return api.get(t, id).Status == message.Sent })
	require.Contains(t, out.String(), id.String())

	// Ctrl-C in a terminal reaches make and everything below it.
	for _, pid := range pidsOf(t, dir) {
		process, err := os.FindProcess(pid)
		require.NoError(t, err)
		_ = process.Signal(os.Interrupt)
	}
	require.NoError(t, cmd.Wait(), "%s", out)
	require.Empty(t, processesOf(t, dir))
}
