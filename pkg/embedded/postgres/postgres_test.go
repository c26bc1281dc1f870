package postgres_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/reexec"
	"github.com/message-dispatcher/dispatch/pkg/embedded/postgres"
	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
)

func TestMain(m *testing.M) {
	reexec.Main(m, map[string]reexec.Role{"serve": serve, "restart": restart})
}

func TestKeepsItsDataOverARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(embeddedtest.Dir(t), "not", "there", "yet")
	first := start(t, postgres.Config{Dir: dir})
	query(t, first, "CREATE TABLE kept AS SELECT 42 AS answer")
	require.NoError(t, first.Stop(t.Context()))
	require.NoError(t, first.Err(), "an end that was asked for is no error")
	require.NoError(t, first.Stop(t.Context()), "a second Stop does no harm")

	second := start(t, postgres.Config{Dir: dir})
	require.Equal(t, int32(42), query(t, second, "SELECT answer FROM kept"))
}

func TestIsDurableAndUTF8ByDefault(t *testing.T) {
	t.Parallel()
	server := start(t, postgres.Config{Dir: dataDir(t), Settings: map[string]string{"max_connections": "37"}})
	for setting, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "server_encoding": "UTF8",
		"lc_collate": "C", "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
		"max_connections": "37", "shared_buffers": "128MB", "TimeZone": "UTC",
	} {
		require.Equal(t, want, query(t, server, "SHOW "+setting), setting)
	}
}

func TestSettingNamesAreChecked(t *testing.T) {
	t.Parallel()
	_, err := postgres.Start(t.Context(), postgres.Config{
		Ephemeral: true, Dir: embeddedtest.Dir(t), Settings: map[string]string{"fsync=off -c x": "1"},
	})
	require.ErrorContains(t, err, "no name of a PostgreSQL setting")
}

func TestCreateDatabaseMayBeRepeated(t *testing.T) {
	t.Parallel()
	server := start(t, postgres.Config{Dir: dataDir(t)})
	const name = `odd "name"`
	require.NoError(t, server.CreateDatabase(t.Context(), name))
	require.NoError(t, server.CreateDatabase(t.Context(), name))
	require.Equal(t, int64(1), query(t, server, `SELECT count(*) FROM pg_database WHERE datname = 'odd "name"'`))
}

func TestWantsItsPassword(t *testing.T) {
	t.Parallel()
	server := start(t, postgres.Config{Dir: dataDir(t)})
	url := fmt.Sprintf("postgres://dispatch:guess@127.0.0.1:%d/postgres?sslmode=disable", server.Port())
	_, err := pgx.Connect(t.Context(), url)
	var refused *pgconn.PgError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "28P01", refused.Code)
}

func TestAnEphemeralOneLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := embeddedtest.Dir(t)
	server := start(t, postgres.Config{Ephemeral: true, Dir: dir})
	require.Equal(t, "off", query(t, server, "SHOW fsync"))
	require.NoError(t, server.Stop(t.Context()))
	empty(t, dir)
}

func TestSharedMemoryThatHasANameIsInTheDirectory(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	server := start(t, postgres.Config{Dir: dir})
	segments, err := os.ReadDir(filepath.Join(dir, "data", "pg_dynshmem"))
	require.NoError(t, err)
	require.NotEmpty(t, segments)
	require.Equal(t, "mmap", query(t, server, "SHOW shared_memory_type"), "the buffers have no name")
}

func TestADirectoryHasOneServer(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	first := start(t, postgres.Config{Dir: dir})
	_, err := postgres.Start(t.Context(), postgres.Config{Dir: dir})
	require.ErrorIs(t, err, postgres.ErrInUse)
	require.ErrorContains(t, err, strconv.Itoa(os.Getpid()))
	require.Equal(t, int32(1), query(t, first, "SELECT 1"))
}

func TestATakenPortIsAnError(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	dir := dataDir(t)
	for _, log := range []*bytes.Buffer{nil, {}} {
		cfg := postgres.Config{Dir: dir, Port: listener.Addr().(*net.TCPAddr).Port}
		if log != nil {
			cfg.Log = log
		}
		_, err = postgres.Start(t.Context(), cfg)
		require.ErrorIs(t, err, process.ErrExited)
		require.ErrorContains(t, err, "Address already in use", "with the server's last words")
		if log != nil {
			require.Contains(t, log.String(), "Address already in use")
		}
	}
}

func TestAStartThatIsBrokenOffLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{time.Millisecond, 300 * time.Millisecond} { // before and in initdb
		dir := embeddedtest.Dir(t)
		ctx, cancel := context.WithTimeout(t.Context(), after)
		_, err := postgres.Start(ctx, postgres.Config{Dir: dir})
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		start(t, postgres.Config{Dir: dir})
	}
}

func TestItsOwnDeathShows(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	server := start(t, postgres.Config{Dir: dir})
	query(t, server, "CREATE TABLE kept AS SELECT 42 AS answer")
	require.NoError(t, syscall.Kill(server.Pid(), syscall.SIGKILL))
	<-server.Done()
	require.ErrorIs(t, server.Err(), process.ErrExited)
	require.NoError(t, server.Stop(t.Context()))

	again := start(t, postgres.Config{Dir: dir, Port: server.Port()})
	require.Equal(t, server.URL("x"), again.URL("x"), "clients find it where it was")
	require.Equal(t, int32(42), query(t, again, "SELECT answer FROM kept"))
}

// dataDir returns a copy of a directory in which a server has run. Copying takes a
// fifth of the time of initdb.
func dataDir(t *testing.T) string {
	t.Helper()
	from, err := template()
	require.NoError(t, err)
	dir := embeddedtest.Dir(t)
	out, err := exec.Command("cp", "-a", from+"/.", dir).CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

var template = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(os.TempDir(), "dispatch-template-"+rand.Text())
	if _, err := process.RemoveAtDeath(dir); err != nil {
		return "", err
	}
	server, err := postgres.Start(context.Background(), postgres.Config{Dir: dir})
	if err != nil {
		return "", err
	}
	return dir, server.Stop(context.Background())
})

func start(t *testing.T, cfg postgres.Config) *postgres.Server {
	t.Helper()
	server, err := postgres.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	return server
}

// query returns the first column of the last row.
func query(t *testing.T, server *postgres.Server, sql string) any {
	t.Helper()
	value, err := queryURL(t.Context(), server.URL("postgres"), sql)
	require.NoError(t, err)
	return value
}

func queryURL(ctx context.Context, url, sql string) (value any, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return nil, err
		}
		value = values[0]
	}
	return value, rows.Err()
}

func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}
