package bench_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/bench"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/natsd"
	embeddedredis "github.com/message-dispatcher/dispatch/pkg/embedded/redis"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/dispatcher"
	"github.com/message-dispatcher/dispatch/services/ingest"
	"github.com/message-dispatcher/dispatch/services/sender"
)

// patience bounds every wait.
const patience = 60 * time.Second

// roleVariable has the test binary be a bench, which a test may kill; its value
// is where data is kept. The bench's own services inherit it.
const roleVariable = "DISPATCH_TEST_BENCH"

// TestMain has the test binary be a service, as the dispatch program is, when
// it is given the name of one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case "ingest":
			service.Main("ingest", ingest.Run)
		case "dispatcher":
			service.Main("dispatcher", dispatcher.Run)
		case "sender":
			service.Main("sender", sender.Run)
		}
	}
	if os.Getenv(roleVariable) != "" {
		benchUntilKilled()
		return
	}
	os.Exit(m.Run())
}

// base measures a little.
func base(t testing.TB) bench.Options {
	t.Helper()
	return bench.Options{
		Load: bench.LoadSingle, Messages: 60, Connections: 4, BatchSize: 10, WarmUp: 10, Concurrency: 8,
		RawFor: 50 * time.Millisecond, Dir: embeddedtest.Dir(t),
	}
}

// given are a user's servers, with something of the user's on each.
type given struct {
	postgres string
	js       natsjs.JetStream
	redis    *redis.Client
	env      settings.Environment
}

func giveServers(t *testing.T) *given {
	t.Helper()
	server, err := natsd.Start(natsd.Config{Listen: "127.0.0.1:0", Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	nc, err := nats.Connect(server.URL())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), natsjs.StreamConfig{Name: "DISPATCH_EVENTS", Subjects: []string{"dispatch.events.>"}})
	require.NoError(t, err)

	cache, err := embeddedredis.Start(t.Context(), embeddedredis.Config{Ephemeral: true, Dir: embeddedtest.Dir(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cache.Stop(context.WithoutCancel(t.Context()))) })
	options, err := redis.ParseURL(cache.URL())
	require.NoError(t, err)
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	require.NoError(t, client.Set(t.Context(), "dispatch:copied", "the user's", 0).Err())

	postgres := dbtest.URL(t)
	return &given{postgres, js, client, settings.Environment{
		"DATABASE_URL": postgres, "NATS_URL": server.URL(), "REDIS_URL": cache.URL(),
		"PREFIX": "ignored", "HTTP_ADDR": "ignored",
	}}
}

// query returns one column of what Postgres answers.
func (g *given) query(t *testing.T, sql string) []string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	config, err := pgxpool.ParseConfig(g.postgres)
	require.NoError(t, err)
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	require.NoError(t, err)
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql)
	require.NoError(t, err)
	column, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return column
}

func (g *given) databases(t *testing.T) []string {
	t.Helper()
	return g.query(t, `SELECT datname::text FROM pg_database WHERE datname LIKE 'dispatch\_bench\_%'`)
}

func (g *given) streams(t *testing.T) []string {
	t.Helper()
	var names []string
	for name := range g.js.StreamNames(t.Context()).Name() {
		names = append(names, name)
	}
	return names
}

// requireAsBefore expects that the user's own is all there is.
func (g *given) requireAsBefore(t *testing.T) {
	t.Helper()
	require.Empty(t, g.databases(t))
	require.Equal(t, []string{"DISPATCH_EVENTS"}, g.streams(t))
	keys, err := g.redis.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Equal(t, []string{"dispatch:copied"}, keys)
	messages := g.query(t, "SELECT count(*)::text FROM messages")
	require.Equal(t, []string{"0"}, messages)
}

// measure runs a bench as often as wanted.
func measure(t *testing.T, options bench.Options, runs int) []bench.Result {
	t.Helper()
	place, err := bench.Open(t.Context(), options)
	require.NoError(t, err)
	var results []bench.Result
	for range runs {
		result, err := place.Run(t.Context())
		require.NoError(t, err)
		results = append(results, result)
	}
	require.NoError(t, place.Close(t.Context()))
	return results
}

// notices gathers lines.
type notices struct {
	mu    sync.Mutex
	lines []string
}

func (n *notices) add(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line)
}

func (n *notices) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.lines, "\n")
}

// benchUntilKilled measures something that takes very long, and says when it
// has begun.
func benchUntilKilled() {
	env, err := settings.ReadEnvironment(os.Environ(), "")
	if err == nil {
		began := sync.OnceFunc(func() { fmt.Println("measuring") })
		var place *bench.Bench
		place, err = bench.Open(context.Background(), bench.Options{
			Load: bench.LoadSingle, Messages: 100_000, Rate: 10, Connections: 2, Concurrency: 8, RawFor: time.Millisecond,
			Apart: true, Program: os.Args[0], Servers: env,
			Progress: func(string, int, int) { began() },
			Dir:      os.Getenv(roleVariable),
		})
		if err == nil {
			_, err = place.Run(context.Background())
		}
	}
	fmt.Println("ended:", err)
}
