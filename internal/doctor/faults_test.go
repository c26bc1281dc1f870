package doctor_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/internal/doctor"
	"github.com/message-dispatcher/dispatch/internal/up"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// fault is one thing that is wrong with an installation.
type fault struct {
	prepare func(t *testing.T, s *testServers) settings.Environment // what is set otherwise than in a healthy one
	want    []string                                                // "check: words of the detail → words of the remedy"
	worst   doctor.Result
}

// broken makes a fault that lies in settings alone.
func broken(given ...string) func(*testing.T, *testServers) settings.Environment {
	return func(*testing.T, *testServers) settings.Environment { return clitest.Settings(given...) }
}

// TestDoctorNamesEveryFault breaks one thing after the other of an
// installation that is healthy otherwise: the doctor names that thing and
// nothing else, and says in a line what to do.
func TestDoctorNamesEveryFault(t *testing.T) {
	s := newTestServers(t)
	healthy := s.examine(t, nil)
	require.Empty(t, faultsOf(healthy))
	for _, faults := range []map[string]fault{postgresFaults, natsFaults, otherFaults} {
		for name, f := range faults {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				findings := s.examine(t, f.prepare(t, s))
				found := faultsOf(findings)
				require.Len(t, found, len(f.want), "%v", found)
				for _, want := range f.want {
					require.True(t, contains(found, want), "%q is not in %q", want, found)
				}
				require.Equal(t, f.worst, doctor.Worst(findings))
			})
		}
	}
}

// contains looks for a finding that has all the words of one.
func contains(found []string, want string) bool {
	check, rest, _ := strings.Cut(want, ": ")
	detail, remedy, _ := strings.Cut(rest, " → ")
	for _, f := range found {
		gotDetail, gotRemedy, _ := strings.Cut(f, " → ")
		if strings.HasPrefix(gotDetail, check+": ") && strings.Contains(gotDetail, detail) && strings.Contains(gotRemedy, remedy) {
			return true
		}
	}
	return false
}

// faultsOf lists what is wrong or away as "check: detail → remedy".
func faultsOf(findings []doctor.Finding) []string {
	var found []string
	for _, f := range findings {
		if f.Result == doctor.Wrong || f.Result == doctor.Unreachable {
			found = append(found, f.Check+": "+f.Detail+" → "+f.Remedy)
		}
	}
	return found
}

var otherFaults = map[string]fault{
	"Redis away": {broken("REDIS_URL", "redis://127.0.0.1:1"), []string{"redis: connection refused → REDIS_URL"}, doctor.Unreachable},
	"Redis: wrong password": {func(t *testing.T, s *testServers) settings.Environment {
		return clitest.Settings("REDIS_URL", strings.Replace(s.env["REDIS_URL"], ":", "://:wrong@", 1)[:len("redis://:wrong@")]+s.env["REDIS_URL"][strings.LastIndex(s.env["REDIS_URL"], "@")+1:])
	}, []string{"redis: WRONGPASS → user and the password in REDIS_URL"}, doctor.Wrong},
	"Redis: a replica that evicts": {evictingReplica, []string{
		"redis: accepts no writes: it is a replica → the primary", "redis: maxmemory-policy allkeys-lru → noeviction",
	}, doctor.Wrong},
	"Redis: a node of a cluster": {func(t *testing.T, _ *testServers) settings.Environment {
		return clitest.Settings("REDIS_URL", "redis://127.0.0.1:"+embeddedtest.Redis(t, nil, "port PORT", "cluster-enabled yes", fmt.Sprintf("cluster-port %d", embeddedtest.FreePort(t))))
	}, []string{"redis: node of a Redis Cluster → REDIS_CLUSTER=true"}, doctor.Wrong},
	"Redis: a Sentinel": {func(t *testing.T, _ *testServers) settings.Environment {
		return clitest.Settings("REDIS_URL", "redis://127.0.0.1:"+embeddedtest.Redis(t, []string{"--sentinel"}, "port PORT"))
	}, []string{"redis: a Redis Sentinel → REDIS_SENTINEL"}, doctor.Wrong},
	"Redis: an unknown authority": {func(t *testing.T, _ *testServers) settings.Environment {
		files := embeddedtest.NewCertificates(t)
		return clitest.Settings("REDIS_URL", "rediss://127.0.0.1:"+embeddedtest.Redis(t, nil, "port 0", "tls-port PORT", "tls-auth-clients no",
			"tls-cert-file "+files.ServerCert, "tls-key-file "+files.ServerKey, "tls-ca-cert-file "+files.CA))
	}, []string{"redis: unknown authority → REDIS_CA"}, doctor.Wrong},
	"Redis: a user without scripts": {userWithoutScripts, []string{"redis: NOPERM → ACL"}, doctor.Wrong},

	"webhook: no such host":     {broken("WEBHOOK_URL", "https://nowhere.invalid/hook"), []string{"webhook: nowhere.invalid → the name in WEBHOOK_URL"}, doctor.Unreachable},
	"webhook: nobody listens":   {broken("WEBHOOK_URL", "http://127.0.0.1:1/hook"), []string{"webhook: connection refused → check that it runs"}, doctor.Unreachable},
	"webhook: untrusted":        {untrustedWebhook, []string{"webhook: certificate → trust its authority"}, doctor.Wrong},
	"webhook: no TLS":           {webhookWithoutTLS, []string{"webhook: does not speak TLS → the scheme or the port"}, doctor.Wrong},
	"a mistake in the settings": {broken("RETRY_BASE", "2h"), []string{"configuration: RETRY_MAX → .env.example"}, doctor.Wrong},

	"HEALTH_ADDR: taken":                 {takenHealthAddr, []string{"HEALTH_ADDR: address already in use → another address"}, doctor.Wrong},
	"HEALTH_ADDR: of another machine":    {broken("HEALTH_ADDR", "192.0.2.1:8081"), []string{"HEALTH_ADDR: can't listen there → another address"}, doctor.Wrong},
	"HTTP_ADDR: taken by something else": {foreignHTTPAddr, []string{"HTTP_ADDR: address already in use → another address"}, doctor.Wrong},
	"the API away":                       {broken("DISPATCH_URL", unused), []string{"api: no answer from " + unused + " → DISPATCH_URL"}, doctor.Unreachable},
	"the API is something else": {func(_ *testing.T, s *testServers) settings.Environment {
		return clitest.Settings("DISPATCH_URL", s.env["WEBHOOK_URL"])
	}, []string{"api: is not a service of Message Dispatcher → DISPATCH_URL"}, doctor.Wrong},
	"the API does not know the key": {broken("DISPATCH_API_KEY", "wrong"), []string{"api: does not accept our key → API_KEYS"}, doctor.Wrong},
	"the data directory is out of reach": {func(t *testing.T, _ *testServers) settings.Environment {
		locked := filepath.Join(embeddedtest.Dir(t), "locked")
		require.NoError(t, os.Mkdir(locked, 0o700))
		if os.Geteuid() != 0 {
			require.NoError(t, os.Chmod(locked, 0))
		}
		return clitest.Settings("DATABASE_URL", "", "--data", filepath.Join(locked, "data"))
	}, []string{"postgres: locked → --data, or set DATABASE_URL"}, doctor.Wrong},
}

func untrustedWebhook(t *testing.T, _ *testServers) settings.Environment {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return clitest.Settings("WEBHOOK_URL", server.URL)
}

func webhookWithoutTLS(_ *testing.T, s *testServers) settings.Environment {
	return clitest.Settings("WEBHOOK_URL", strings.Replace(s.env["WEBHOOK_URL"], "http:", "https:", 1))
}

func takenHealthAddr(t *testing.T, _ *testServers) settings.Environment {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { // answers nobody
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { listener.Close() })
	return clitest.Settings("HEALTH_ADDR", listener.Addr().String())
}

func foreignHTTPAddr(_ *testing.T, s *testServers) settings.Environment {
	return clitest.Settings("HTTP_ADDR", strings.TrimPrefix(s.env["WEBHOOK_URL"], "http://"), "DISPATCH_URL", s.env["DISPATCH_URL"])
}

// TestDoctorTellsAllFaultsAtOnce has everything broken, on a terminal and as
// JSON.
func TestDoctorTellsAllFaultsAtOnce(t *testing.T) {
	s := newTestServers(t)
	for name, value := range clitest.Settings(
		"DATABASE_URL", wrongPassword(s.env["DATABASE_URL"]), "NATS_URL", s.nats("bare"), "REDIS_URL", "redis://127.0.0.1:1",
		"WEBHOOK_URL", "http://127.0.0.1:1", "BATCH_SIZE", "-1", "NATS_REPLICAS", "2", "HEALTH_ADDR", "192.0.2.1:8081", "DISPATCH_URL", unused,
	) {
		t.Setenv(name, value)
	}
	told := dispatch(t, "doctor")
	require.Equal(t, 3, told.Code)
	for _, text := range []string{
		"✗ configuration  BATCH_SIZE", "✗ configuration  NATS_REPLICAS", "✗ postgres       Postgres refuses the connection", "✗ nats           JetStream does not answer",
		"✗ redis          ", "✗ webhook        ", "✗ HEALTH_ADDR    ", "✗ api            no answer",
	} {
		require.Contains(t, told.Out, text)
	}
	require.NotContains(t, told.Out, "wrong-password")

	var findings []doctor.Finding
	inJSON := dispatch(t, "doctor", "--json")
	require.Equal(t, 3, inJSON.Code)
	require.NoError(t, json.Unmarshal([]byte(inJSON.Out), &findings))
	faults := 0
	for _, f := range findings {
		require.Contains(t, told.Out, f.Detail)
		if f.Result == doctor.Wrong || f.Result == doctor.Unreachable {
			require.NotEmpty(t, f.Remedy)
			faults++
		}
		if f.Remedy != "" {
			require.Contains(t, told.Out, "→ "+f.Remedy+"\n")
			require.NotContains(t, f.Remedy, "\n")
		}
	}
	require.Equal(t, faults, strings.Count(told.Out, "✗"))
}

// TestTheDocumentedRightsAreEnough has everything run by users that may do no
// more.
func TestTheDocumentedRightsAreEnough(t *testing.T) {
	grants := strings.ReplaceAll(documented(t, "GRANT USAGE", "```"), "dispatch_services", "ROLE")
	s := &testServers{port: startNATS(t)}
	role := as(t, grants)
	i := startUp(t, "NATS_URL", s.nats("listed"), "DATABASE_URL", role)
	id := i.Send(t, "+905551111111", "hello")
	require.Eventually(t, func() bool { return clitest.Field(i.Dispatch(t, "get", id).OK(t), "status") == "SENT" }, patience, patience/1000)
	js, err := connect.NATS(jetstream.Access{URL: s.nats("full")}, events.NewTopology("dispatch", 1))
	require.NoError(t, err)
	t.Cleanup(js.Conn().Close)
	stream, err := js.Stream(t.Context(), js.DeliveriesStream())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	}, patience, patience/1000, "the id is acknowledged")
	s.env = clitest.Settings("DATABASE_URL", role, "NATS_URL", s.nats("listed"), "WEBHOOK_URL", i.Webhook.URL, "DISPATCH_URL", i.URL)
	require.Empty(t, faultsOf(s.examine(t, nil)))
}

// oddPassword has what a URL, a shell, a .env file and a config file each read
// in a way of their own.
const oddPassword = `p@s/s:w#r?d%41$HOME'"\n`

func TestRedisIsGivenTheUserAndThePasswordAsTheyWereSet(t *testing.T) {
	t.Parallel()
	at, err := url.Parse(startRedis(t))
	require.NoError(t, err)
	admin := redisClient(t, at.String())
	require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "shop", "on", ">"+oddPassword, "~*", "&*", "+@all").Err())
	require.NoError(t, admin.Do(t.Context(), "CONFIG", "SET", "maxmemory-policy", "noeviction").Err())

	host := clitest.Settings("REDIS_HOST", at.Hostname(), "REDIS_PORT", at.Port(), "REDIS_USER", "shop", "REDIS_PASSWORD", oddPassword)
	address := url.URL{Scheme: "redis", User: url.UserPassword("shop", oddPassword), Host: at.Host}
	for _, env := range []settings.Environment{host, clitest.Settings("REDIS_URL", address.String())} {
		cfg, err := up.Parse(env, "")
		require.NoError(t, err)
		require.Empty(t, settings.Warnings(env, &cfg))
		var found []doctor.Finding
		doctor.Examine(t.Context(), doctor.Installation{Environment: env, API: client.New(unused, "")}, func(f doctor.Finding) {
			if f.Check == "redis" {
				found = append(found, f)
			}
		})
		require.Equal(t, doctor.OK, doctor.Worst(found), "%v", found)
		require.Contains(t, found[0].Detail, "reachable")
	}
}
