package overload_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// A full disk under Postgres' tables: storing is refused with 503 and
// Retry-After, reading goes on, ingest and dispatcher say what does not work,
// and all of it works again as soon as there is room.
func TestAFullDiskUnderPostgresTables(t *testing.T) {
	t.Parallel()
	i := install(t, testenv.Options{})
	d := i.onDisk(i.Postgres.Process, filepath.Join(i.Postgres.Dir, "data", "base"), 192)
	i.Start()
	i.running(false) // so that there is something to claim
	l := i.load(5 * time.Millisecond)
	i.more(l.answers, http.StatusCreated, 300)
	known := i.anyMessage()

	d.Fill()
	i.more(l.answers, http.StatusServiceUnavailable, 20)
	i.awaitHealth(i.ingest(), http.StatusServiceUnavailable, "storing", "down")
	i.running(true)
	i.awaitHealth(i.dispatcher(), http.StatusServiceUnavailable, "tick", "down")
	for _, path := range []string{"/api/v1/messages/" + known, "/api/v1/messages?limit=1", "/health"} {
		code, answer, err := ask(i.ingest(), path)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, code, "%s: %s", path, answer)
	}

	d.Free()
	i.isReady(i.Services()...)
	i.more(l.answers, http.StatusCreated, 20)
	l.stop()
	i.requireOnly(l.answers, http.StatusCreated, http.StatusOK, http.StatusServiceUnavailable)
	i.settle()
	i.requireMemory(maxMemory, i.Services()...)
}

// running starts or stops the emission in the schedule itself: a row changed in
// its place takes no room on the disk.
func (i *installation) running(yes bool) {
	i.t.Helper()
	conn, err := pgx.Connect(i.t.Context(), i.Postgres.URL)
	require.NoError(i.t, err)
	_, err = conn.Exec(i.t.Context(), "UPDATE schedule SET running = $1", yes)
	require.NoError(i.t, err)
	require.NoError(i.t, conn.Close(i.t.Context()))
}

// A full disk under Postgres' log of changes: Postgres itself goes down, and
// its supervisor has no luck until there is room.
func TestAFullDiskUnderPostgresLog(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	i := install(t, testenv.Options{Postgres: map[string]string{"min_wal_size": "32MB", "max_wal_size": "64MB"}})
	d := i.onDisk(i.Postgres.Process, filepath.Join(i.Postgres.Dir, "data", "pg_wal"), 128)
	i.Start()
	restarts := i.supervise(i.Postgres.Process)
	l := i.load(50 * time.Millisecond)
	i.more(l.answers, http.StatusCreated, 20)

	d.Fill()
	i.eventually("Postgres has ended", func() bool { i.switchLog(); return restarts.tried() > 0 })
	i.more(l.answers, http.StatusServiceUnavailable, 20)
	for _, u := range i.Services() {
		i.awaitHealth(u, http.StatusServiceUnavailable, "postgres", "down")
	}

	d.Free()
	i.isReady(i.Services()...)
	i.more(l.answers, http.StatusCreated, 20)
	l.stop()
	i.requireOnly(l.answers, http.StatusCreated, http.StatusOK, http.StatusServiceUnavailable)
	i.settle()
	i.requireMemory(maxMemory, i.Services()...)
}

// onDisk puts a directory of a server that runs on a small disk.
func (i *installation) onDisk(server *testenv.Process, dir string, mebibytes int) *disk {
	i.t.Helper()
	require.NoError(i.t, server.Terminate())
	d := newDisk(i.t, dir, mebibytes)
	server.Start()
	return d
}

// anyMessage is the id of one that is stored.
func (i *installation) anyMessage() (id string) {
	i.t.Helper()
	i.asSuperuser(func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT id::text FROM messages LIMIT 1").Scan(&id)
	})
	return id
}

func (i *installation) asSuperuser(do func(context.Context, *pgx.Conn) error) {
	i.t.Helper()
	i.inDatabase("dispatch", do)
}

func (i *installation) inDatabase(name string, do func(context.Context, *pgx.Conn) error) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), testenv.WaitTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, strings.Replace(i.Postgres.URL, "/dispatch?", "/"+name+"?", 1))
	require.NoError(i.t, err)
	defer conn.Close(ctx)
	require.NoError(i.t, do(ctx, conn))
}

// switchLog has Postgres begin another file of its log, if it can.
func (i *installation) switchLog() {
	ctx, cancel := context.WithTimeout(i.t.Context(), 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, i.Postgres.URL)
	if err != nil {
		return // it is down already
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "SELECT pg_switch_wal()")
	i.t.Log(fmt.Sprint("pg_switch_wal: ", err))
}
