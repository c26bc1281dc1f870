package postgres_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/reexec"
	"github.com/message-dispatcher/dispatch/pkg/embedded/postgres"
)

const (
	waitTimeout  = 30 * time.Second
	pollInterval = 20 * time.Millisecond
)

// serve is a role that starts a server in args[0], ephemeral if there is a second
// argument. It writes to the server and returns its process id.
func serve(args []string) (string, error) {
	server, err := postgres.Start(context.Background(), postgres.Config{
		Dir: args[0], Ephemeral: len(args) > 1,
	})
	if err != nil {
		return "", err
	}
	return strconv.Itoa(server.Pid()), record(server)
}

func record(server *postgres.Server) error {
	for _, sql := range []string{
		"CREATE TABLE IF NOT EXISTS runs (at timestamptz)", "INSERT INTO runs VALUES (now())",
	} {
		if _, err := queryURL(context.Background(), server.URL("postgres"), sql); err != nil {
			return err
		}
	}
	return nil
}

// restart is a role that starts and stops a server in args[0] twice.
func restart(args []string) (string, error) {
	ctx := context.Background()
	for range 2 {
		server, err := postgres.Start(ctx, postgres.Config{Dir: args[0]})
		if err != nil {
			return "", err
		}
		if err := errors.Join(record(server), server.Stop(ctx)); err != nil {
			return "", err
		}
	}
	return "done", nil
}

func TestNothingOutlivesAKilledParent(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	parent := reexec.Start(t, nil, nil, "serve", dir)
	pid := number(t, parent.Line)
	parent.Kill()
	require.Eventually(t, func() bool { return reexec.Gone(pid) }, waitTimeout, pollInterval)
}

func TestAnEphemeralDirectoryIsRemovedWhenItsParentIsKilled(t *testing.T) {
	t.Parallel()
	dir := embeddedtest.Dir(t)
	parent := reexec.Start(t, nil, nil, "serve", dir, "ephemeral")
	pid := number(t, parent.Line)
	parent.Kill()
	require.Eventually(t, func() bool {
		entries, err := os.ReadDir(dir)
		return err == nil && len(entries) == 0 && reexec.Gone(pid)
	}, waitTimeout, pollInterval)
}

// Each start after a kill -9 waits for the predecessor's server.
func TestStartsRightAfterAKill(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	for range 3 {
		parent := reexec.Start(t, nil, nil, "serve", dir)
		number(t, parent.Line)
		parent.Kill()
	}
	server := start(t, postgres.Config{Dir: dir})
	require.Equal(t, int64(3), query(t, server, "SELECT count(*) FROM runs"), "committed rows survive")
}

// If the watchers are killed too, the server runs on, and the next start ends it.
func TestTheNextStartEndsAServerWithoutItsWatcher(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	parent := reexec.Start(t, nil, nil, "serve", dir)
	pid := number(t, parent.Line)
	for _, watcher := range parent.Children("dispatch-watcher") {
		require.NoError(t, syscall.Kill(watcher, syscall.SIGKILL))
	}
	parent.Kill()
	require.False(t, reexec.Gone(pid))

	server := start(t, postgres.Config{Dir: dir})
	require.True(t, reexec.Gone(pid))
	require.Equal(t, int64(1), query(t, server, "SELECT count(*) FROM runs"))
}

// After a kill, another process may have the process id in postmaster.pid. Here it is
// another PostgreSQL of the same user.
func TestAReusedProcessIDInPostmasterPidIsHarmless(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	killed := start(t, postgres.Config{Dir: dir})
	require.NoError(t, syscall.Kill(killed.Pid(), syscall.SIGKILL))
	<-killed.Done()
	require.NoError(t, killed.Stop(t.Context()))

	stranger := start(t, postgres.Config{Dir: dataDir(t)})
	file := filepath.Join(dir, "data", "postmaster.pid")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(text), "\n")
	require.NoError(t, os.WriteFile(file, []byte(strconv.Itoa(stranger.Pid())+"\n"+rest), 0o600))

	start(t, postgres.Config{Dir: dir})
	require.Equal(t, int32(1), query(t, stranger, "SELECT 1"), "the stranger is left alone")
}

func TestRunsAsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	dir := embeddedtest.Dir(t)
	reexec.Chown(t, dir)
	parent := reexec.Start(t, reexec.Nobody(), nil, "restart", dir)
	require.Equal(t, "done", parent.Line)
}

func number(t *testing.T, line string) int {
	t.Helper()
	pid, err := strconv.Atoi(line)
	require.NoError(t, err, line)
	return pid
}
