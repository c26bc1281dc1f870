package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/provision"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// olderVersion is as long as the real server's, so that it can stand in its
// place.
const olderVersion = "2.11.9"

// seemsOlder is a way to a NATS server on which it says that it is older.
func seemsOlder(t *testing.T, target string) string {
	t.Helper()
	require.Len(t, olderVersion, len(server.VERSION))
	there, err := url.Parse(target)
	require.NoError(t, err)
	behind := there.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go pretend(client, behind)
		}
	}()
	there.Host = listener.Addr().String()
	return there.String()
}

func pretend(client net.Conn, target string) {
	defer client.Close()
	remote, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer remote.Close()
	go func() { _, _ = io.Copy(remote, client) }()
	piece := make([]byte, 64<<10)
	for {
		n, err := remote.Read(piece)
		said := bytes.ReplaceAll(piece[:n], []byte(`"version":"`+server.VERSION+`"`), []byte(`"version":"`+olderVersion+`"`))
		if _, sent := client.Write(said); err != nil || sent != nil {
			return
		}
	}
}

// TestAnOldNATSIsRefusedWithItsVersion has a server that reports success for
// what it passes over, so its version is looked at.
func TestAnOldNATSIsRefusedWithItsVersion(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	api := w.runIngest()
	old := seemsOlder(t, w.env["NATS_URL"])
	w.env["NATS_URL"] = old
	cfg, err := settings.Parse[provision.Config](w.env)
	require.NoError(t, err)
	err = provision.Run(t.Context(), cfg, w.log())
	require.ErrorIs(t, err, jetstream.ErrTooOld)
	require.ErrorContains(t, err, "NATS 2.11.9: older than version 2.14, which is needed")

	for _, start := range []func(given ...string) *runningService{w.runDispatcher, w.runSender} {
		health := freeAddr(t)
		start("HEALTH_ADDR", health)
		requireUnready(t, "http://"+health, http.StatusServiceUnavailable, "NATS is older than 2.14")
	}
	status, _, answer := api.request(t, http.MethodGet, "/health/ready", "")
	require.Equal(t, http.StatusOK, status, "%s", answer)
	late := w.runIngest()
	requireUnready(t, late.url, http.StatusOK, "NATS is older than 2.14") // it works without NATS
}

// requireUnready waits until a service says what is wrong.
func requireUnready(t *testing.T, url string, status int, text string) {
	t.Helper()
	testenv.Eventually(t, func() bool {
		response, err := http.Get(url + "/health/ready")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return err == nil && response.StatusCode == status && bytes.Contains(body, []byte(text))
	}, text)
}

func TestVersionsOfNATSAreCompared(t *testing.T) {
	t.Parallel()
	for version, old := range map[string]bool{
		"2.13.9": true, "1.99.0": true, "2.9.25": true, "2.14.0": false, "2.15.2-RC.1": false, "3.0.0": false, "custom": false, "": false,
	} {
		require.Equal(t, old, jetstream.CheckVersion(version) != nil, version)
	}
}

// startWithOlderNATS answers JetStream's API as a server does that does not know some
// settings: it passes over them and reports success.
func startWithOlderNATS(t *testing.T, w *pipeline, given ...string) *jetstream.Client {
	t.Helper()
	prefix := "old" + given[0]
	direct := w.connect().Conn()
	_, err := direct.Subscribe(prefix+".>", func(request *nats.Msg) {
		var config map[string]any
		body := request.Data
		if json.Unmarshal(body, &config) == nil {
			for _, name := range given {
				delete(config, name)
				if inner, ok := config["config"].(map[string]any); ok {
					delete(inner, name)
				}
			}
			body, _ = json.Marshal(config)
		}
		answer, err := direct.Request("$JS.API."+request.Subject[len(prefix)+1:], body, waitTimeout)
		if err == nil {
			_ = request.Respond(answer.Data)
		}
	})
	require.NoError(t, err)
	require.NoError(t, direct.Flush())
	js, err := natsjs.NewWithAPIPrefix(w.connect().Conn(), prefix)
	require.NoError(t, err)
	return jetstream.NewClient(js, w.topology)
}

// TestWhatAServerPassesOverIsAnError asks for what it does not do although it
// reports success.
func TestWhatAServerPassesOverIsAnError(t *testing.T) {
	t.Parallel()
	w := newUnprovisioned(t)
	provision := func(js *jetstream.Client) error {
		return streams.Provision(t.Context(), js, []string{message.DefaultDestination})
	}
	err := provision(startWithOlderNATS(t, w, "allow_msg_schedules", "max_msgs_per_subject"))
	require.ErrorIs(t, err, jetstream.ErrNotAsRequested)
	require.ErrorContains(t, err, "stream DISPATCH_DELIVERIES: not as requested: max_msgs_per_subject is -1, not 1; allow_msg_schedules is false, not true")
	err = streams.Check(t.Context(), w.js)
	require.ErrorIs(t, err, jetstream.ErrNotAsRequested, "nor does a service work with it: %v", err)
	for name := range w.js.StreamNames(t.Context()).Name() {
		require.NoError(t, w.js.DeleteStream(t.Context(), name))
	}

	err = provision(startWithOlderNATS(t, w, "max_ack_pending"))
	require.ErrorIs(t, err, jetstream.ErrNotAsRequested)
	require.ErrorContains(t, err, "consumer ingest of DISPATCH_INTAKE: not as requested: max_ack_pending is 1000, not 20000")
	require.NoError(t, provision(w.js), "another server makes it as requested")
	require.NoError(t, streams.Check(t.Context(), w.js))
}
