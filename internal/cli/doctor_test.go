package cli

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// fault is one thing that is wrong with an installation.
type fault struct {
	prepare func(t *testing.T, s *sickroom) service.Environment // what is set otherwise than in a healthy one
	want    []string                                            // "check: words of the detail → words of the remedy"
	code    int
}

// broken makes a fault that lies in settings alone.
func broken(settings ...string) func(*testing.T, *sickroom) service.Environment {
	return func(*testing.T, *sickroom) service.Environment { return settingsOf(settings...) }
}

func settingsOf(settings ...string) service.Environment {
	env := service.Environment{}
	for n := 0; n < len(settings); n += 2 {
		env[settings[n]] = settings[n+1]
	}
	return env
}

// TestDoctorNamesEveryFault breaks one thing after the other of an
// installation that is healthy otherwise: the doctor names that thing and
// nothing else, and says in a line what to do.
func TestDoctorNamesEveryFault(t *testing.T) {
	s := newSickroom(t)
	healthy := s.examine(t, nil)
	require.Empty(t, faultsOf(healthy))
	for _, faults := range []map[string]fault{postgresFaults, natsFaults, otherFaults} {
		for name, f := range faults {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				d := s.examine(t, f.prepare(t, s))
				found := faultsOf(d)
				require.Len(t, found, len(f.want), "%v", found)
				for _, want := range f.want {
					require.True(t, contains(found, want), "%q is not in %q", want, found)
				}
				require.Equal(t, f.code, codeOf(d.verdict()))
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
func faultsOf(d *doctor) []string {
	var found []string
	for _, f := range d.findings {
		if f.Result == wrong || f.Result == away {
			found = append(found, f.Check+": "+f.Detail+" → "+f.Remedy)
		}
	}
	return found
}

func codeOf(err error) int {
	if err == nil {
		return 0
	}
	return err.(*exitError).code //nolint:errorlint,forcetypeassert // a verdict is nothing else
}

var otherFaults = map[string]fault{
	"Redis away": {broken("REDIS_URL", "redis://127.0.0.1:1"), []string{"redis: connection refused → REDIS_URL"}, 3},
	"Redis: wrong password": {func(t *testing.T, s *sickroom) service.Environment {
		return settingsOf("REDIS_URL", strings.Replace(s.env["REDIS_URL"], ":", "://:wrong@", 1)[:len("redis://:wrong@")]+s.env["REDIS_URL"][strings.LastIndex(s.env["REDIS_URL"], "@")+1:])
	}, []string{"redis: WRONGPASS → user and the password in REDIS_URL"}, 1},
	"Redis: a replica that evicts": {evictingReplica, []string{
		"redis: takes no writes: it is a replica → the primary", "redis: maxmemory-policy allkeys-lru → noeviction",
	}, 1},
	"Redis: a node of a cluster": {func(t *testing.T, _ *sickroom) service.Environment {
		return settingsOf("REDIS_URL", "redis://127.0.0.1:"+embeddedtest.Redis(t, nil, "port PORT", "cluster-enabled yes", fmt.Sprintf("cluster-port %d", embeddedtest.FreePort(t))))
	}, []string{"redis: node of a Redis Cluster → REDIS_CLUSTER=true"}, 1},
	"Redis: a Sentinel": {func(t *testing.T, _ *sickroom) service.Environment {
		return settingsOf("REDIS_URL", "redis://127.0.0.1:"+embeddedtest.Redis(t, []string{"--sentinel"}, "port PORT"))
	}, []string{"redis: a Redis Sentinel → REDIS_SENTINEL"}, 1},
	"Redis: an unknown authority": {func(t *testing.T, _ *sickroom) service.Environment {
		files := embeddedtest.NewCertificates(t)
		return settingsOf("REDIS_URL", "rediss://127.0.0.1:"+embeddedtest.Redis(t, nil, "port 0", "tls-port PORT", "tls-auth-clients no",
			"tls-cert-file "+files.ServerCert, "tls-key-file "+files.ServerKey, "tls-ca-cert-file "+files.CA))
	}, []string{"redis: unknown authority → REDIS_CA"}, 1},
	"Redis: a user without scripts": {userWithoutScripts, []string{"redis: NOPERM → ACL"}, 1},

	"webhook: no such host":     {broken("WEBHOOK_URL", "https://nowhere.invalid/hook"), []string{"webhook: nowhere.invalid → the name in WEBHOOK_URL"}, 3},
	"webhook: nobody listens":   {broken("WEBHOOK_URL", "http://127.0.0.1:1/hook"), []string{"webhook: connection refused → see that it runs"}, 3},
	"webhook: untrusted":        {untrustedWebhook, []string{"webhook: certificate → trust who signed it"}, 1},
	"webhook: no TLS":           {webhookWithoutTLS, []string{"webhook: does not speak TLS → the scheme or the port"}, 1},
	"a mistake in the settings": {broken("RETRY_BASE", "2h"), []string{"configuration: RETRY_MAX → .env.example"}, 1},

	"HEALTH_ADDR: taken":                 {takenHealthAddr, []string{"HEALTH_ADDR: address already in use → another address"}, 1},
	"HEALTH_ADDR: of another machine":    {broken("HEALTH_ADDR", "192.0.2.1:8081"), []string{"HEALTH_ADDR: can't be listened on → another address"}, 1},
	"HTTP_ADDR: taken by something else": {foreignHTTPAddr, []string{"HTTP_ADDR: address already in use → another address"}, 1},
	"the API away":                       {broken("DISPATCH_URL", unused), []string{"api: no answer from " + unused + " → DISPATCH_URL"}, 3},
	"the API is something else": {func(_ *testing.T, s *sickroom) service.Environment {
		return settingsOf("DISPATCH_URL", s.env["WEBHOOK_URL"])
	}, []string{"api: is no service of this system → DISPATCH_URL"}, 1},
	"the API does not know the key": {broken("DISPATCH_API_KEY", "wrong"), []string{"api: does not take our key → API_KEYS"}, 1},
	"the data directory is out of reach": {func(t *testing.T, _ *sickroom) service.Environment {
		locked := filepath.Join(embeddedtest.Dir(t), "locked")
		require.NoError(t, os.Mkdir(locked, 0o700))
		if os.Geteuid() != 0 {
			require.NoError(t, os.Chmod(locked, 0))
		}
		return settingsOf("DATABASE_URL", "", "--data", filepath.Join(locked, "data"))
	}, []string{"postgres: locked → --data, or set DATABASE_URL"}, 1},
}

func untrustedWebhook(t *testing.T, _ *sickroom) service.Environment {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return settingsOf("WEBHOOK_URL", server.URL)
}

func webhookWithoutTLS(_ *testing.T, s *sickroom) service.Environment {
	return settingsOf("WEBHOOK_URL", strings.Replace(s.env["WEBHOOK_URL"], "http:", "https:", 1))
}

func takenHealthAddr(t *testing.T, _ *sickroom) service.Environment {
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
	return settingsOf("HEALTH_ADDR", listener.Addr().String())
}

func foreignHTTPAddr(_ *testing.T, s *sickroom) service.Environment {
	return settingsOf("HTTP_ADDR", strings.TrimPrefix(s.env["WEBHOOK_URL"], "http://"), "DISPATCH_URL", s.env["DISPATCH_URL"])
}

// TestDoctorTellsAllFaultsAtOnce has everything broken, on a terminal and as
// JSON.
func TestDoctorTellsAllFaultsAtOnce(t *testing.T) {
	s := newSickroom(t)
	for name, value := range settingsOf(
		"DATABASE_URL", wrongPassword(s.env["DATABASE_URL"]), "NATS_URL", s.nats("bare"), "REDIS_URL", "redis://127.0.0.1:1",
		"WEBHOOK_URL", "http://127.0.0.1:1", "BATCH_SIZE", "-1", "NATS_REPLICAS", "2", "HEALTH_ADDR", "192.0.2.1:8081", "DISPATCH_URL", unused,
	) {
		t.Setenv(name, value)
	}
	told := dispatch(t, "doctor")
	require.Equal(t, 3, told.code)
	for _, text := range []string{
		"✗ configuration  BATCH_SIZE", "✗ configuration  NATS_REPLICAS", "✗ postgres       Postgres refuses us", "✗ nats           JetStream does not answer",
		"✗ redis          ", "✗ webhook        ", "✗ HEALTH_ADDR    ", "✗ api            no answer",
	} {
		require.Contains(t, told.out, text)
	}
	require.NotContains(t, told.out, "wrong-password")

	var findings []finding
	inJSON := dispatch(t, "doctor", "--json")
	require.Equal(t, 3, inJSON.code)
	require.NoError(t, json.Unmarshal([]byte(inJSON.out), &findings))
	faults := 0
	for _, f := range findings {
		require.Contains(t, told.out, f.Detail)
		if f.Result == wrong || f.Result == away {
			require.NotEmpty(t, f.Remedy)
			faults++
		}
		if f.Remedy != "" {
			require.Contains(t, told.out, "→ "+f.Remedy+"\n")
			require.NotContains(t, f.Remedy, "\n")
		}
	}
	require.Equal(t, faults, strings.Count(told.out, "✗"))
}

// TestTheDocumentedRightsAreEnough has everything run by users that may do no
// more.
func TestTheDocumentedRightsAreEnough(t *testing.T) {
	grants := strings.ReplaceAll(documented(t, "GRANT USAGE", "```"), "dispatch_services", "ROLE")
	s := &sickroom{port: startNATS(t)}
	role := as(t, grants)
	i := startUp(t, "NATS_URL", s.nats("listed"), "DATABASE_URL", role)
	id := i.send(t, "+905551111111", "hello")
	require.Eventually(t, func() bool { return field(i.dispatch(t, "get", id).ok(t), "status") == "SENT" }, patience, patience/1000)
	js, err := connectNATS(events.Access{URL: s.nats("full")})
	require.NoError(t, err)
	t.Cleanup(js.Conn().Close)
	stream, err := js.Stream(t.Context(), events.NewTopology("dispatch", 1).DeliveriesStream())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	}, patience, patience/1000, "the id is acknowledged")
	s.env = settingsOf("DATABASE_URL", role, "NATS_URL", s.nats("listed"), "WEBHOOK_URL", i.webhook.URL, "DISPATCH_URL", i.url)
	require.Empty(t, faultsOf(s.examine(t, nil)))
}

// TestProvisionSaysWhatRoomItNeeds is on a server whose account is too small.
func TestProvisionSaysWhatRoomItNeeds(t *testing.T) {
	t.Parallel()
	s := &sickroom{port: startNATS(t)}
	js, err := connectNATS(events.Access{URL: s.nats("small")})
	require.NoError(t, err)
	t.Cleanup(js.Conn().Close)
	err = events.NewTopology("dispatch", 1).Provision(t.Context(), js, nil)
	require.ErrorContains(t, err, "all streams 1216 MiB together, on each of 1 servers; make streams smaller")
}
