package e2e_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/bench"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// Since PostgreSQL 15 a role may create nothing in the schema public unless it
// is told so. Whatever makes the schema says that, and ends.
func TestWhatMakesTheSchemaSaysThatItMayNot(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"DATABASE_URL": dbtest.PlainLogin(t, dbtest.EmptyURL(t)), "NATS_LISTEN": freeAddr(t), "HTTP_ADDR": freeAddr(t),
		"LOG_LEVEL": "error", "LOG_FORMAT": "json",
	}
	for name, args := range map[string][]string{
		"provision": {"provision"}, "migrate": {"migrate", "up"}, "up": {"up", "--data", embeddedtest.Dir(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			process := testenv.StartProcess(t, env, args...)
			testenv.Eventually(t, process.Exited)
			require.Equal(t, 1, process.Wait(), "%s", process.Output)
			require.Contains(t, process.Output.String(), "GRANT CREATE ON SCHEMA public TO plain")
		})
	}
}

// One SIGTERM ends a provision that waits for a lock, and one that waits for
// NATS.
func TestASignalEndsAProvision(t *testing.T) {
	t.Parallel()
	process := testenv.StartProcess(t, map[string]string{
		"DATABASE_URL": dbtest.URL(t), "NATS_URL": "nats://" + freeAddr(t), "LOG_LEVEL": "warn", "LOG_FORMAT": "json",
	}, "provision")
	testenv.Eventually(t, func() bool { return strings.Contains(process.Output.String(), "waiting for streams") })
	require.NoError(t, process.Signal(syscall.SIGTERM))
	testenv.Eventually(t, process.Exited)
	require.Equal(t, 0, process.Wait(), "%s", process.Output)
}

// TestBenchApart needs the program itself: it is what bench runs again.
func TestBenchApart(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("building it takes long: make proof") //nolint:forbidigo // nothing is missing: it is left to make proof
	}
	cmd := exec.CommandContext(t.Context(), testenv.Build(t), "bench", "--messages", "20", "--warm-up", "5", "--runs", "1", "--apart", "--senders", "2", "--json")
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	require.NoError(t, err)
	var told struct{ Runs []bench.Result }
	require.NoError(t, json.Unmarshal(out, &told))
	for _, program := range []string{"ingest", "dispatcher", "sender 1", "sender 2"} {
		require.Positive(t, told.Runs[0].PeakMemory[program], program)
	}
}
