package redis_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
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
	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
	"github.com/message-dispatcher/dispatch/pkg/embedded/redis"
)

const (
	waitTimeout  = 30 * time.Second
	pollInterval = 10 * time.Millisecond
)

func TestMain(m *testing.M) {
	reexec.Main(m, map[string]reexec.Role{
		"serve": func(args []string) (string, error) {
			server, err := redis.Start(context.Background(), redis.Config{Dir: args[0], Ephemeral: len(args) > 1})
			if err != nil {
				return "", err
			}
			return strconv.Itoa(server.Pid()), nil
		},
	})
}

func TestKeepsItsDataOverARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(embeddedtest.Dir(t), "a b", "redis")
	first := start(t, redis.Config{Dir: dir})
	require.Equal(t, "+OK", command(t, first.URL(), "SET answer 42"))
	require.NoError(t, first.Stop(t.Context()))
	require.NoError(t, first.Err())

	second := start(t, redis.Config{Dir: dir})
	require.Equal(t, "$2", command(t, second.URL(), "GET answer"))
}

func TestWantsItsPassword(t *testing.T) {
	t.Parallel()
	server := start(t, redis.Config{Ephemeral: true})
	require.Contains(t, command(t, fmt.Sprintf("redis://:guess@127.0.0.1:%d/0", server.Port()), "PING"), "NOAUTH")
}

func TestADirectoryHasOneServer(t *testing.T) {
	t.Parallel()
	dir := embeddedtest.Dir(t)
	start(t, redis.Config{Dir: dir})
	_, err := redis.Start(t.Context(), redis.Config{Dir: dir})
	require.ErrorIs(t, err, redis.ErrInUse)
}

func TestATakenPortIsAnError(t *testing.T) {
	t.Parallel()
	first := start(t, redis.Config{Ephemeral: true})
	_, err := redis.Start(t.Context(), redis.Config{Ephemeral: true, Port: first.Port()})
	require.ErrorIs(t, err, process.ErrExited)
	require.ErrorContains(t, err, "Address already in use")
}

func TestAnEphemeralOneLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := embeddedtest.Dir(t)
	server := start(t, redis.Config{Ephemeral: true, Dir: dir})
	require.NoError(t, server.Stop(t.Context()))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestNothingOutlivesAKilledParent(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"ephemeral"}} {
		dir := embeddedtest.Dir(t)
		parent := reexec.Start(t, nil, nil, "serve", append([]string{dir}, args...)...)
		pid, err := strconv.Atoi(parent.Line)
		require.NoError(t, err, parent.Line)
		parent.Kill()
		start(t, redis.Config{Dir: dir})
		require.Eventually(t, func() bool { return reexec.Gone(pid) }, waitTimeout, pollInterval)
	}
}

func TestRunsAsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	dir := embeddedtest.Dir(t)
	reexec.Chown(t, dir)
	parent := reexec.Start(t, reexec.Nobody(), nil, "serve", dir)
	require.NotContains(t, parent.Line, "error")
}

func TestItNeverRunsAsRoot(t *testing.T) {
	t.Parallel()
	dir := embeddedtest.Dir(t)
	start(t, redis.Config{Dir: dir})
	info, err := os.Stat(filepath.Join(dir, "data", "appendonlydir"))
	require.NoError(t, err)
	stat, ok := info.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	require.NotZero(t, stat.Uid)
}

func TestItsOwnDeathShows(t *testing.T) {
	t.Parallel()
	server := start(t, redis.Config{Ephemeral: true})
	require.NoError(t, syscall.Kill(server.Pid(), syscall.SIGKILL))
	<-server.Done()
	require.ErrorIs(t, server.Err(), process.ErrExited)
}

func start(t *testing.T, cfg redis.Config) *redis.Server {
	t.Helper()
	server, err := redis.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	return server
}

// command returns the first line of the server's reply.
func command(t *testing.T, address, text string) string {
	t.Helper()
	parsed, err := url.Parse(address)
	require.NoError(t, err)
	password, _ := parsed.User.Password()
	conn, err := net.Dial("tcp", parsed.Host)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "AUTH %s\r\n%s\r\n", password, text)
	require.NoError(t, err)
	replies := bufio.NewReader(conn)
	_, err = replies.ReadString('\n')
	require.NoError(t, err)
	line, err := replies.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}
