// Package dbtest gives each test a database of its own on a real PostgreSQL,
// which the test process starts at the first call and which ends with it.
package dbtest

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/embedded/postgres"
)

const template = "template_migrated"

var (
	server = sync.OnceValues(start)
	copies atomic.Int64
	// strategy is how databases are copied: by files takes a third of the time
	// that it takes by the log. It is set by start.
	strategy string
	// making lets one database be copied at a time: Postgres refuses to copy
	// a template that a second copy is reading.
	making sync.Mutex
)

func start() (*postgres.Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pg, err := postgres.Start(ctx, postgres.Config{
		Ephemeral: true,
		Settings:  map[string]string{"max_connections": "500"},
	})
	if err != nil {
		return nil, err
	}
	if err := pg.CreateDatabase(ctx, template); err != nil {
		return nil, err
	}
	pool, err := dbpool.Open(ctx, pg.URL(template), dbpool.Options{Name: "dbtest"})
	if err != nil {
		return nil, err
	}
	defer dbpool.Close(pool)
	var younger bool // than the choice, which 14 does not have: it copies files
	if err := pool.QueryRow(ctx, "SELECT current_setting('server_version_num')::int >= 150000").Scan(&younger); err != nil {
		return nil, err
	}
	if younger {
		strategy = " STRATEGY FILE_COPY"
	}
	return pg, migrate.Up(ctx, pool)
}

// URL returns the address of a fresh database with the schema in it. It is
// dropped when the test ends. Tests may call it in parallel.
func URL(t testing.TB) string {
	t.Helper()
	return create(t, template)
}

// EmptyURL is URL without the schema.
func EmptyURL(t testing.TB) string {
	t.Helper()
	return create(t, "template0")
}

// Pool returns a pool on a fresh database with the schema in it.
func Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := dbpool.Open(t.Context(), URL(t), dbpool.Options{Name: t.Name()})
	require.NoError(t, err)
	t.Cleanup(func() { dbpool.Close(pool) })
	return pool
}

// PlainLogin returns the address of the same database for a role of its own
// that may connect and no more, as CREATE ROLE makes it since PostgreSQL 15. The
// role is called plain and a number.
func PlainLogin(t testing.TB, address string) string {
	t.Helper()
	pg, err := server()
	require.NoError(t, err)
	role := fmt.Sprintf("plain%d", copies.Add(1))
	admin(t, pg, "CREATE ROLE "+role+" LOGIN PASSWORD 'plain'")
	t.Cleanup(func() { admin(t, pg, "DROP ROLE "+role) })
	conn, err := pgx.Connect(t.Context(), strings.Split(address, "&pool_")[0])
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
	require.NoError(t, err)
	t.Cleanup(func() { // what it was granted, which keeps it from being dropped
		conn, err := pgx.Connect(context.Background(), strings.Split(address, "&pool_")[0])
		require.NoError(t, err)
		defer conn.Close(context.Background())
		_, err = conn.Exec(context.Background(), "DROP OWNED BY "+role)
		require.NoError(t, err)
	})
	there, err := url.Parse(address)
	require.NoError(t, err)
	there.User = url.UserPassword(role, "plain")
	return there.String()
}

func create(t testing.TB, from string) string {
	t.Helper()
	pg, err := server()
	require.NoError(t, err)
	name := fmt.Sprintf("test_%d", copies.Add(1))
	admin(t, pg, "CREATE DATABASE "+name+" TEMPLATE "+from+strategy)
	t.Cleanup(func() { admin(t, pg, "DROP DATABASE "+name+" WITH (FORCE)") })
	return strings.Replace(pg.URL(name), "sslmode=disable", "sslmode=disable&pool_max_conns=10", 1)
}

func admin(t testing.TB, pg *postgres.Server, statement string) {
	t.Helper()
	making.Lock()
	defer making.Unlock()
	ctx := context.WithoutCancel(t.Context()) // cleanups run after the test's context has ended
	conn, err := pgx.Connect(ctx, pg.URL("postgres"))
	require.NoError(t, err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	require.NoError(t, err)
}
