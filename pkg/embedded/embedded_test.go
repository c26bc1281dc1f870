package embedded_test

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/reexec"
	"github.com/message-dispatcher/dispatch/pkg/embedded/natsd"
	"github.com/message-dispatcher/dispatch/pkg/embedded/postgres"
)

const (
	freeAddr     = "127.0.0.1:0"
	waitTimeout  = 30 * time.Second
	pollInterval = 20 * time.Millisecond
)

func TestMain(m *testing.M) {
	reexec.Main(m, map[string]reexec.Role{
		"up": func(args []string) (string, error) {
			stack, err := embedded.Start(context.Background(), embedded.Config{Dir: args[0], NATSListen: freeAddr})
			if err != nil {
				return "", err
			}
			text, err := json.Marshal([]string{stack.DatabaseURL, stack.NATSURL, stack.RedisURL})
			return string(text), err
		},
	})
}

func TestStartsEverythingAndKeepsItsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(embeddedtest.Dir(t), "data")
	first := start(t, embedded.Config{Dir: dir, NATSListen: freeAddr})
	require.NotEmpty(t, first.RedisURL)
	exec(t, first.DatabaseURL, "CREATE TABLE kept ()")
	require.NoError(t, reach(first.NATSURL))
	require.NotNil(t, first.NATS())
	_, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, NATSListen: freeAddr})
	require.ErrorIs(t, err, embedded.ErrInUse)
	require.NoError(t, first.Stop(t.Context()))
	require.NoError(t, first.Stop(t.Context()), "a second Stop does no harm")
	require.Error(t, reach(first.NATSURL))
	require.Empty(t, first.Done())

	second := start(t, embedded.Config{Dir: dir, NATSListen: freeAddr})
	exec(t, second.DatabaseURL, "SELECT FROM kept")
}

func TestConfiguredServersAreUsed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(embeddedtest.Dir(t), "data")
	stack := start(t, embedded.Config{DatabaseURL: "postgres://a", NATSURL: "nats://b", RedisURL: "redis://c", Dir: dir})
	require.Equal(t, []string{"postgres://a", "nats://b", "redis://c"},
		[]string{stack.DatabaseURL, stack.NATSURL, stack.RedisURL})
	require.Nil(t, stack.NATS())
	require.NoDirExists(t, dir, "nothing is kept")
}

func TestAFailureLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", freeAddr)
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	dir := embeddedtest.Dir(t)
	_, err = embedded.Start(t.Context(), embedded.Config{Dir: dir, NATSListen: listener.Addr().String()})
	require.ErrorIs(t, err, natsd.ErrListen)
	require.ErrorContains(t, err, "NATS_LISTEN")
	start(t, embedded.Config{Dir: dir, NATSListen: freeAddr})
}

func TestAnInaccessibleDirectoryIsNamed(t *testing.T) {
	t.Parallel()
	locked := filepath.Join(embeddedtest.Dir(t), "locked")
	require.NoError(t, os.MkdirAll(filepath.Join(locked, "data"), 0o700))
	stack, err := embedded.Start(t.Context(), embedded.Config{Dir: filepath.Join(locked, "data"), NATSListen: freeAddr})
	if os.Geteuid() != 0 {
		require.NoError(t, err)
		require.NoError(t, stack.Stop(t.Context()))
		return
	}
	require.ErrorIs(t, err, postgres.ErrUnreachable)
	require.ErrorContains(t, err, locked)
}

// mktemp -d creates directories that only their owner may enter.
func TestAnEmptyPrivateDirectoryIsAccepted(t *testing.T) {
	t.Parallel()
	dir := embeddedtest.Dir(t)
	require.NoError(t, os.Chmod(dir, 0o700))
	start(t, embedded.Config{Dir: dir, NATSListen: freeAddr, RedisURL: "redis://given"})
}

func TestNoServerOutlivesAKilledParentAndTheNextStartFindsTheData(t *testing.T) {
	t.Parallel()
	dir := embeddedtest.Dir(t)
	reexec.Chown(t, dir)
	parent := reexec.Start(t, reexec.Nobody(), nil, "up", dir)
	var urls []string
	require.NoError(t, json.Unmarshal([]byte(parent.Line), &urls), parent.Line)
	exec(t, urls[0], "CREATE TABLE kept ()")
	left := parent.Children("")
	require.Len(t, left, 4, "two servers and their watchers")
	parent.Kill()
	for _, pid := range left {
		require.Eventually(t, func() bool { return reexec.Gone(pid) }, waitTimeout, pollInterval)
	}
	again := reexec.Start(t, reexec.Nobody(), nil, "up", dir)
	require.NoError(t, json.Unmarshal([]byte(again.Line), &urls), again.Line)
	exec(t, urls[0], "SELECT FROM kept")
}

func TestAServerThatDiesIsStartedAgain(t *testing.T) {
	t.Parallel()
	dir := embeddedtest.Dir(t)
	stack := start(t, embedded.Config{Dir: dir, NATSListen: freeAddr})
	for _, server := range []string{"postgres", "redis"} {
		file := filepath.Join(dir, server, "running")
		before := pid(t, file)
		require.NoError(t, syscall.Kill(before, syscall.SIGKILL))
		require.Eventually(t, func() bool { return pid(t, file) != before }, waitTimeout, pollInterval)
	}
	require.Eventually(t, func() bool {
		conn, err := pgx.Connect(t.Context(), stack.DatabaseURL)
		return err == nil && conn.Close(t.Context()) == nil
	}, waitTimeout, pollInterval)
	require.Empty(t, stack.Done())
}

func start(t *testing.T, cfg embedded.Config) *embedded.Stack {
	t.Helper()
	stack, err := embedded.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = stack.Stop(context.Background()) })
	return stack
}

func exec(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	require.Equal(t, embedded.Database, conn.Config().Database)
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func reach(url string) error {
	conn, err := nats.Connect(url)
	if err == nil {
		conn.Close()
	}
	return err
}

// pid reads a server's process id. It returns 0 if the file is empty, which it is for
// a moment while it is rewritten.
func pid(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	number := 0
	for _, digit := range strings.TrimSpace(string(text)) {
		number = number*10 + int(digit-'0')
	}
	return number
}
