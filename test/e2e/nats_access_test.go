package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// natsServer starts a server with a configuration of its own and returns it.
func natsServer(t *testing.T, config string, args ...any) *server.Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, config, args...), 0o600))
	options, err := server.ProcessConfigFile(file)
	require.NoError(t, err)
	options.NoSigs, options.NoLog, options.StoreDir = true, true, t.TempDir()
	s, err := server.NewServer(options)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(waitTimeout))
	return s
}

func secret(t *testing.T, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, content, 0o600))
	return file
}

// seed makes an nkey and returns the file with its seed, and its public key.
func seed(t *testing.T) (file, public string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	require.NoError(t, err)
	text, err := pair.Seed()
	require.NoError(t, err)
	public, err = pair.PublicKey()
	require.NoError(t, err)
	return secret(t, text), public
}

// operator starts a server that knows users by their JWT alone, and returns what
// makes the credentials of one that is valid for so long.
func operator(t *testing.T) (url string, credentials func(valid time.Duration) string) {
	t.Helper()
	pair := func(create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		keys, err := create()
		require.NoError(t, err)
		public, err := keys.PublicKey()
		require.NoError(t, err)
		return keys, public
	}
	owner, ownerKey := pair(nkeys.CreateOperator)
	_, systemKey := pair(nkeys.CreateAccount)
	account, accountKey := pair(nkeys.CreateAccount)
	encode := func(claims jwt.Claims, by nkeys.KeyPair) string {
		token, err := claims.Encode(by)
		require.NoError(t, err)
		return token
	}
	operatorClaims := jwt.NewOperatorClaims(ownerKey)
	operatorClaims.SystemAccount = systemKey
	accountClaims := jwt.NewAccountClaims(accountKey)
	accountClaims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	s := natsServer(t, `
		listen: "127.0.0.1:-1"
		jetstream { max_file_store: 1TB }
		operator: %s
		resolver: MEMORY
		resolver_preload: { %s: %s, %s: %s }`,
		encode(operatorClaims, owner), accountKey, encode(accountClaims, owner), systemKey, encode(jwt.NewAccountClaims(systemKey), owner))
	return s.ClientURL(), func(valid time.Duration) string {
		user, userKey := pair(nkeys.CreateUser)
		userClaims := jwt.NewUserClaims(userKey)
		userClaims.Expires = time.Now().Add(valid).Unix()
		text, err := user.Seed()
		require.NoError(t, err)
		file, err := jwt.FormatUserConfig(encode(userClaims, account), text)
		require.NoError(t, err)
		return secret(t, file)
	}
}

// leaf starts a hub with JetStream, and a server at its edge that has a
// JetStream of its own. It returns the edge's URL.
func leaf(t *testing.T) string {
	t.Helper()
	between := freeAddr(t)
	natsServer(t, `
		server_name: hub
		listen: "127.0.0.1:-1"
		jetstream { domain: hub, max_file_store: 1TB }
		leafnodes { listen: %q }`, between)
	edge := natsServer(t, `
		server_name: edge
		listen: "127.0.0.1:-1"
		jetstream { domain: edge, max_file_store: 1TB }
		leafnodes { remotes: [ { url: "nats://%s" } ] }`, between)
	testenv.Eventually(t, func() bool { return edge.NumLeafNodes() == 1 })
	return edge.ClientURL()
}

const overTLS = `
	listen: "127.0.0.1:-1"
	jetstream { max_file_store: 1TB }
	tls { cert_file: %q, key_file: %q, ca_file: %q, verify: %t }`

// TestTheWholePipelineReachesNATSAsItIsOperated goes every way that there is to
// a server.
func TestTheWholePipelineReachesNATSAsItIsOperated(t *testing.T) {
	t.Parallel()
	files := embeddedtest.NewCertificates(t)
	ways := map[string]func(t *testing.T) settings.Environment{
		"credentials": func(t *testing.T) settings.Environment {
			url, credentials := operator(t)
			return settings.Environment{"NATS_URL": url, "NATS_CREDS": credentials(time.Hour)}
		},
		"an nkey": func(t *testing.T) settings.Environment {
			file, public := seed(t)
			s := natsServer(t, `listen: "127.0.0.1:-1", jetstream { max_file_store: 1TB }, authorization { users: [ { nkey: %s } ] }`, public)
			return settings.Environment{"NATS_URL": s.ClientURL(), "NATS_NKEY": file}
		},
		"an authority": func(t *testing.T) settings.Environment {
			s := natsServer(t, overTLS, files.ServerCert, files.ServerKey, files.CA, false)
			return settings.Environment{"NATS_URL": s.ClientURL(), "NATS_CA": files.CA}
		},
		"a client certificate": func(t *testing.T) settings.Environment {
			s := natsServer(t, overTLS, files.ServerCert, files.ServerKey, files.CA, true)
			return settings.Environment{"NATS_URL": s.ClientURL(), "NATS_CA": files.CA, "NATS_CERT": files.ClientCert, "NATS_KEY": files.ClientKey}
		},
		"a leaf node": func(t *testing.T) settings.Environment {
			return settings.Environment{"NATS_URL": leaf(t), "NATS_DOMAIN": "hub"}
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newUnprovisioned(t)
			maps.Copy(w.env, way(t))
			w.provisionOnly()
			api := w.runAll()
			w.webhook.respondWith(failOnce)
			id := api.post(t, hello)
			require.Equal(t, 2, w.awaitStatus(id, message.Sent).Attempts)
			testenv.Eventually(t, func() bool { // a slow machine may keep JetStream from answering for a moment
				status, _, answer := api.request(t, "GET", "/health/ready", "")
				return status == 200 && !strings.Contains(string(answer), "degraded")
			}, "it is not ready, or degraded")

			cfg, err := settings.Parse[struct{ NATS settings.NATS }](w.env)
			require.NoError(t, err)
			js, err := jetstream.Connect(jetstream.Access(cfg.NATS.NATSAccess), w.topology, "test")
			require.NoError(t, err)
			t.Cleanup(js.Conn().Close)
			testenv.Eventually(t, js.Conn().IsConnected)
			require.True(t, jetstream.NewFailover(js, w.log()).Reaches(t.Context()))
			if cfg.NATS.Domain == "" {
				return
			}
			edge, err := natsjs.New(js.Conn())
			require.NoError(t, err)
			account, err := edge.AccountInfo(t.Context())
			require.NoError(t, err)
			require.Zero(t, account.Streams, "the streams are at the hub")
		})
	}
}

// TestARefusalByNATSIsSaidWithItsReason is what the log says, and the health in
// fewer words, where "NATS does not answer" would lead astray.
func TestARefusalByNATSIsSaidWithItsReason(t *testing.T) {
	t.Parallel()
	files, others := embeddedtest.NewCertificates(t), embeddedtest.NewCertificates(t)
	jwtURL, credentials := operator(t)
	_, strange := operator(t)
	withTLS := natsServer(t, overTLS, files.ServerCert, files.ServerKey, files.CA, true).ClientURL()
	plain := natsServer(t, `listen: "127.0.0.1:-1"`).ClientURL()
	unknownKey, _ := seed(t)
	refusals := map[string]struct {
		access     jetstream.Access
		log, state string
	}{
		"no credentials":     {jetstream.Access{URL: jwtURL}, "authorization violation", "does not take our user"},
		"another operator's": {jetstream.Access{URL: jwtURL, Creds: strange(time.Hour)}, "authorization violation", "does not take our user"},
		"expired":            {jetstream.Access{URL: jwtURL, Creds: credentials(-time.Hour)}, "nats: ", "credentials"},
		"an unknown nkey":    {jetstream.Access{URL: jwtURL, NKey: unknownKey}, "authorization violation", "does not take our user"},
		"unknown authority":  {jetstream.Access{URL: withTLS}, "unknown authority", "unknown authority"},
		"another authority":  {jetstream.Access{URL: withTLS, CA: others.CA}, "unknown authority", "unknown authority"},
		"no certificate":     {jetstream.Access{URL: withTLS, CA: files.CA}, "tls", "lacks one"},
		"another's certificate": {
			jetstream.Access{URL: withTLS, CA: files.CA, Cert: others.ClientCert, Key: others.ClientKey}, "tls", "does not take our certificate",
		},
		"no TLS": {jetstream.Access{URL: plain, CA: files.CA}, "secure connection not available", "does not speak TLS"},
	}
	for name, r := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js, err := jetstream.Connect(r.access, events.NewTopology("dispatch", 1), "test")
			require.NoError(t, err)
			t.Cleanup(js.Conn().Close)
			testenv.Eventually(t, func() bool { return jetstream.Refused(jetstream.Connected(js.Conn())) },
				"%v", js.Conn().LastError())
			var refusal error
			testenv.Eventually(t, func() bool {
				refusal = streams.Check(t.Context(), js)
				return jetstream.Refused(refusal) // between two tries there is none
			})
			require.ErrorIs(t, refusal, jetstream.ErrUnavailable)
			require.Contains(t, strings.ToLower(refusal.Error()), r.log)
			require.Contains(t, jetstream.Reason(refusal), r.state)
		})
	}
}
