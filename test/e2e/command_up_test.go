package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// upProcess is `dispatch up` with a data directory of its own.
type upProcess struct {
	*testenv.Process
	api *runningService
}

func startUp(t *testing.T, dir string, settings ...string) upProcess {
	t.Helper()
	addr := freeAddr(t)
	env := map[string]string{
		"HTTP_ADDR": addr, "NATS_LISTEN": freeAddr(t), "PROCESSING_INTERVAL": "0",
	}
	for i := 0; i < len(settings); i += 2 {
		env[settings[i]] = settings[i+1]
	}
	p := testenv.StartProcess(t, env, "up", "--data", dir)
	testenv.Eventually(t, func() bool { return strings.Contains(p.Output.String(), "http://"+addr) || p.Exited() },
		"it says where it listens")
	require.Contains(t, p.Output.String(), "Ready.")
	return upProcess{Process: p, api: &runningService{url: "http://" + addr}}
}

func (u upProcess) awaitSent(t *testing.T, id message.ID) message.Message {
	t.Helper()
	var m message.Message
	testenv.Eventually(t, func() bool {
		m = u.api.get(t, id)
		return m.Status == message.Sent
	})
	return m
}

// processesOf lists the processes that have something to do with a data
// directory: by their command line or working directory.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	var commands []string
	for _, command := range scanProcesses(t, dir) {
		commands = append(commands, command)
	}
	return commands
}

// pidsOf lists the numbers of those that are `dispatch up`.
func pidsOf(t *testing.T, dir string) []int {
	t.Helper()
	var pids []int
	for pid, command := range scanProcesses(t, dir) {
		if strings.Contains(command, "dispatch up") {
			pids = append(pids, pid)
		}
	}
	return pids
}

func scanProcesses(t *testing.T, dir string) map[int]string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	found := map[int]string{}
	for _, path := range paths {
		command, _ := os.ReadFile(filepath.Join(path, "cmdline")) // a process may end while we look
		cwd, _ := os.Readlink(filepath.Join(path, "cwd"))
		if strings.Contains(string(command), dir) || strings.HasPrefix(cwd, dir) {
			pid, err := strconv.Atoi(filepath.Base(path))
			require.NoError(t, err)
			found[pid] = strings.ReplaceAll(string(command), "\x00", " ")
		}
	}
	return found
}

func TestUpNeedsNothingAndLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := embeddedtest.Dir(t)

	first := startUp(t, dir)
	id := first.api.post(t, hello)
	m := first.awaitSent(t, id)
	require.Contains(t, first.Output.String(), id.String(), "the built-in receiver shows what arrives")
	require.NotEmpty(t, m.ExternalID, "the receiver's messageId")
	require.NotEmpty(t, processesOf(t, dir))

	require.NoError(t, first.Signal(syscall.SIGINT))
	require.Equal(t, 0, first.Wait(), "%s", first.Output)
	require.Empty(t, processesOf(t, dir), "Ctrl-C leaves no process behind")

	second := startUp(t, dir)
	require.Equal(t, message.Sent, second.api.get(t, id).Status, "the data outlives the process")
	pending := second.api.post(t, fmt.Sprintf(`{"to":"+905551111111","content":"later","deliverAt":%q}`, time.Now().Add(time.Hour).Format(time.RFC3339)))
	second.Kill()
	testenv.Eventually(t, func() bool { return len(processesOf(t, dir)) == 0 }, "kill -9 leaves no process behind")

	third := startUp(t, dir)
	require.Equal(t, message.Pending, third.api.get(t, pending).Status)
	third.awaitSent(t, third.api.post(t, hello))
	require.NoError(t, third.Terminate())
	require.Empty(t, processesOf(t, dir))
}

func TestUpSaysWhenTheNextTickComes(t *testing.T) {
	t.Parallel()
	u := startUp(t, embeddedtest.Dir(t), "PROCESSING_INTERVAL", "2m")
	testenv.Eventually(t, func() bool {
		return regexp.MustCompile(`2 messages every 2m0s; next tick (now|at \d\d:\d\d:\d\d)`).MatchString(u.Output.String())
	}, "%s", u.Output)
	require.Contains(t, u.Output.String(), "PROCESSING_INTERVAL=0")
}

func TestATakenNATSPortNamesTheVariable(t *testing.T) {
	t.Parallel()
	first := startUp(t, embeddedtest.Dir(t))
	taken := regexp.MustCompile(`nats://(\S+)`).FindStringSubmatch(first.Output.String())[1]

	second := testenv.StartProcess(t, map[string]string{"HTTP_ADDR": freeAddr(t), "NATS_LISTEN": taken}, "up", "--data", embeddedtest.Dir(t))
	require.NotZero(t, second.Wait())
	require.Contains(t, second.Output.String(), "NATS_LISTEN")
}

func TestEveryMistakeInTheConfigurationIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	p := testenv.StartProcess(t, map[string]string{
		"HTTP_ADDR": "nowhere", "BATCH_SIZE": "-1", "MAX_RETRIES": "x", "RETRY_BASE": "2h", "WEBHOOK_URL": "ftp://x",
		"WEBHOOK_TIMEOUT": "66s", "NATS_LISTEN": "1", "LOG_LEVEL": "loud",
	}, "up", "--data", embeddedtest.Dir(t))
	require.Equal(t, 2, p.Wait())
	for _, name := range []string{"HTTP_ADDR", "BATCH_SIZE", "MAX_RETRIES", "RETRY_MAX", "WEBHOOK_URL", "SHUTDOWN_TIMEOUT", "NATS_LISTEN", "LOG_LEVEL"} {
		require.Contains(t, p.Output.String(), name)
	}
}
