package doctor_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats-server/v2/server"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/internal/doctor"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/redis"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// testServers is a healthy installation, and a NATS server with several accounts
// on which faults can be made.
type testServers struct {
	env  settings.Environment // of the healthy one
	port string               // of the other NATS server
}

// accounts are those of the other server. "few" lacks some subjects, "none"
// has nothing to do with JetStream, "bare" is in an account without it; "listed" may do what the
// documentation lists.
const accounts = `
	listen: "127.0.0.1:-1"
	jetstream { store_dir: %q, max_file_store: 1TB }
	accounts {
		FULL {
			jetstream: enabled
			users: [
				{ user: full, password: pw }
				{ user: listed, password: pw, %s }
				{ user: few, password: pw, permissions: {
					publish: { deny: ["*.events.>"] }
					subscribe: { deny: ["*.wake"] }
				} }
				{ user: none, password: pw, permissions: { publish: ["dispatch.>"] } }
			]
		}
		SMALL { jetstream: { max_store: 1GB }, users: [ { user: small, password: pw } ] }
		BARE { users: [ { user: bare, password: pw } ] }
	}`

func newTestServers(t *testing.T) *testServers {
	t.Helper()
	cache := startRedis(t)
	i := startUp(t, "REDIS_URL", cache, "API_KEYS", "shop:a-key")
	return &testServers{
		port: startNATS(t),
		env: settings.Environment{
			"DATABASE_URL": i.Database, "NATS_URL": i.NATS, "REDIS_URL": cache, "WEBHOOK_URL": i.Webhook.URL,
			"DISPATCH_URL": i.URL, "DISPATCH_API_KEY": "a-key",
		},
	}
}

func startRedis(t *testing.T) string {
	t.Helper()
	s, err := redis.Start(t.Context(), redis.Config{Ephemeral: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s.URL()
}

// startNATS starts a server with accounts and returns its host and port.
func startNATS(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, accounts, t.TempDir(), documented(t, "permissions: {", "```")), 0o600))
	options, err := server.ProcessConfigFile(file)
	require.NoError(t, err)
	options.NoSigs, options.NoLog = true, true
	s, err := server.NewServer(options)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(patience))
	return s.Addr().String()
}

// startSecureNATS starts a server that speaks TLS, and wants a certificate if
// verify is true. It returns its URL.
func startSecureNATS(t *testing.T, files embeddedtest.Certificates, verify bool) string {
	t.Helper()
	return startOtherNATS(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: %t }\n",
		files.ServerCert, files.ServerKey, files.CA, verify))
}

// startOtherNATS starts a server with a configuration of its own. It returns its URL.
func startOtherNATS(t *testing.T, config string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, []byte("listen: \"127.0.0.1:-1\"\n"+config), 0o600))
	options, err := server.ProcessConfigFile(file)
	require.NoError(t, err)
	options.NoSigs, options.NoLog = true, true
	s, err := server.NewServer(options)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(patience))
	return s.ClientURL()
}

// documented cuts a passage out of docs/OPERATIONS.md.
func documented(t *testing.T, from, to string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/OPERATIONS.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), from)
	require.True(t, found, from)
	passage, _, found := strings.Cut(rest, to)
	require.True(t, found, to)
	return from + passage
}

// nats is the address of the other server for one of its users.
func (s *testServers) nats(user string) string { return "nats://" + user + ":pw@" + s.port }

// examine examines the healthy installation with some settings changed.
func (s *testServers) examine(t *testing.T, changed settings.Environment) (findings []doctor.Finding) {
	t.Helper()
	env := maps.Clone(s.env)
	maps.Copy(env, changed)
	in := doctor.Installation{Environment: env, DataDir: env["--data"], API: client.New(env["DISPATCH_URL"], env["DISPATCH_API_KEY"])}
	delete(env, "--data")
	doctor.Examine(t.Context(), in, func(f doctor.Finding) {
		findings = append(findings, f)
		t.Log(f)
	})
	return findings
}

// provisioned makes the streams of an installation of its own on the other
// server and returns what leads to them. change may be nil.
func (s *testServers) provisioned(t *testing.T, change func(js *jetstream.Client, topology events.Topology)) settings.Environment {
	t.Helper()
	prefix := strings.ToLower(rand.Text())
	topology := events.NewTopology(prefix, 1)
	js, err := connect.NATS(jetstream.Access{URL: s.nats("full")}, topology)
	require.NoError(t, err)
	t.Cleanup(js.Conn().Close)
	require.NoError(t, streams.Provision(t.Context(), js, []string{message.DefaultDestination}))
	if change != nil {
		change(js, topology)
	}
	return clitest.Settings("NATS_URL", s.nats("full"), "PREFIX", prefix)
}

// database makes a provisioned database and changes it by SQL.
func database(t *testing.T, statements ...string) string {
	t.Helper()
	at := dbtest.URL(t)
	pool, err := dbpool.Open(t.Context(), at, dbpool.Options{Name: "test"})
	require.NoError(t, err)
	defer pool.Close()
	require.NoError(t, db.NewStore(pool).ProvisionSchedule(t.Context(), time.Minute, 2))
	for _, statement := range statements {
		_, err := pool.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return at
}

// as is the address of a database for a user of its own, who was made with
// some rights. ROLE stands for the user and DATABASE for the database.
func as(t *testing.T, statements ...string) string {
	t.Helper()
	at := database(t)
	u, err := url.Parse(at)
	require.NoError(t, err)
	name, role := strings.TrimPrefix(u.Path, "/"), "role_"+strings.ToLower(rand.Text())
	conn, err := pgx.Connect(t.Context(), strings.Replace(at, "&pool_max_conns=10", "", 1))
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_, err := conn.Exec(ctx, "DROP OWNED BY "+role+"; DROP ROLE "+role)
		require.NoError(t, err)
		conn.Close(ctx)
	})
	for _, statement := range append([]string{"CREATE ROLE ROLE LOGIN PASSWORD 'pw'"}, statements...) {
		statement = strings.NewReplacer(" ROLE ROLE", " ROLE "+role, " ROLE", " "+role, "DATABASE DATABASE", "DATABASE "+name).Replace(statement)
		_, err := conn.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	u.User = url.UserPassword(role, "pw")
	return u.String()
}

func wrongPassword(at string) string {
	u, err := url.Parse(at)
	if err != nil {
		panic(err)
	}
	u.User = url.UserPassword(u.User.Username(), "wrong-password")
	return u.String()
}

func redisClient(t *testing.T, at string) *goredis.Client {
	t.Helper()
	options, err := goredis.ParseURL(at)
	require.NoError(t, err)
	client := goredis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}
