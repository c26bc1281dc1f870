package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/message-dispatcher/dispatch/internal/provision"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/natsd"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/dispatcher"
	"github.com/message-dispatcher/dispatch/services/ingest"
	"github.com/message-dispatcher/dispatch/services/sender"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m, 8) }

// waitTimeout bounds every wait of a test.
const waitTimeout = testenv.WaitTimeout

// pipeline is one installation: a database, a NATS server and a webhook of its
// own, provisioned, with no service running yet.
type pipeline struct {
	t        testing.TB
	env      settings.Environment
	nats     *natsd.Server
	natsDir  string
	js       *jetstream.Client
	topology events.Topology
	store    *db.Store
	webhook  *webhook
	wire     *wireCheck
}

// newPipeline makes an installation with the given settings on top of fast
// ones: continuous mode and short retries.
func newPipeline(t testing.TB, given ...string) *pipeline {
	t.Helper()
	w := newUnprovisioned(t, given...)
	w.provision()
	return w
}

// newUnprovisioned is newPipeline before it is provisioned.
func newUnprovisioned(t testing.TB, given ...string) *pipeline {
	t.Helper()
	w := &pipeline{t: t, natsDir: t.TempDir(), webhook: &webhook{testenv.NewWebhook(t)}}
	w.env = settings.Environment{
		"DATABASE_URL":        dbtest.URL(t),
		"NATS_URL":            "nats://" + freeAddr(t),
		"WEBHOOK_URL":         w.webhook.URL,
		"WEBHOOK_TIMEOUT":     "5s",
		"SHUTDOWN_TIMEOUT":    "20s",
		"PROCESSING_INTERVAL": "0",
		"RETRY_BASE":          "200ms",
		"RETRY_FACTOR":        "2",
		"LOG_LEVEL":           "warn",
	}
	for i := 0; i < len(given); i += 2 {
		w.env[given[i]] = given[i+1]
	}
	w.startNATS()
	t.Cleanup(w.stopNATS)
	w.topology = events.NewTopology("dispatch", 1)
	w.js = w.connect()
	spec, err := sharedSpec()
	require.NoError(t, err)
	w.wire = checkWire(t, w.connect(), spec, spec.publishedSubjects()...)
	w.open()
	return w
}

// open connects the test to the database.
func (w *pipeline) open() {
	w.t.Helper()
	pool, err := dbpool.Open(w.t.Context(), w.env["DATABASE_URL"], dbpool.Options{Name: "test"})
	require.NoError(w.t, err)
	w.t.Cleanup(pool.Close)
	w.store = db.NewStore(pool)
}

func (w *pipeline) log() *zap.Logger {
	return zaptest.NewLogger(w.t, zaptest.Level(zap.WarnLevel))
}

func (w *pipeline) startNATS() {
	w.t.Helper()
	server, err := natsd.Start(natsd.Config{Listen: w.env["NATS_URL"][len("nats://"):], Dir: w.natsDir})
	require.NoError(w.t, err)
	w.nats = server
	if w.js != nil {
		testenv.Eventually(w.t, w.js.Conn().IsConnected)
	}
}

func (w *pipeline) stopNATS() {
	if w.nats != nil {
		w.nats.Stop()
		w.nats = nil
	}
}

// connect returns a JetStream of the test's own.
func (w *pipeline) connect() *jetstream.Client {
	w.t.Helper()
	js, err := jetstream.Connect(jetstream.Access{URL: w.env["NATS_URL"]}, w.topology, "test")
	require.NoError(w.t, err)
	w.t.Cleanup(js.Conn().Close)
	testenv.Eventually(w.t, js.Conn().IsConnected)
	return js
}

// provision makes everything, with an ack wait that tests can wait for.
func (w *pipeline) provision() {
	w.t.Helper()
	w.provisionOnly()
	timeout, err := time.ParseDuration(w.env["WEBHOOK_TIMEOUT"])
	require.NoError(w.t, err)
	testenv.ShortenAckWait(w.t, w.env["NATS_URL"], w.env["PREFIX"], testenv.AckWait(timeout))
}

func (w *pipeline) provisionOnly() {
	w.t.Helper()
	cfg, err := settings.Parse[provision.Config](w.env)
	require.NoError(w.t, err)
	require.NoError(w.t, provision.Run(w.t.Context(), cfg, w.log()))
}

// runningService is a service that runs in the test's process.
type runningService struct {
	url  string // of ingest
	stop func() // drains it and waits; the test fails if that fails. Idempotent
}

// run starts a service with w's settings and the given ones on top.
func run[T any](w *pipeline, start func(context.Context, T, *zap.Logger) error, given ...string) *runningService {
	w.t.Helper()
	env := maps.Clone(w.env)
	for i := 0; i < len(given); i += 2 {
		env[given[i]] = given[i+1]
	}
	cfg, err := settings.Parse[T](env)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- start(ctx, cfg, w.log()) }()
	r := &runningService{}
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			assert.NoError(w.t, err)
		case <-time.After(waitTimeout):
			assert.Fail(w.t, "the service does not stop")
		}
	})
	w.t.Cleanup(r.stop)
	return r
}

func (w *pipeline) runDispatcher(given ...string) *runningService {
	w.t.Helper()
	return run(w, dispatcher.Run, given...)
}

func (w *pipeline) runSender(given ...string) *runningService {
	w.t.Helper()
	return run(w, sender.Run, given...)
}

// runIngest starts an ingest and returns once it is ready.
func (w *pipeline) runIngest(given ...string) *runningService {
	w.t.Helper()
	addr := freeAddr(w.t)
	r := run(w, ingest.Run, append([]string{"HTTP_ADDR", addr}, given...)...)
	r.url = "http://" + addr
	testenv.Eventually(w.t, func() bool {
		response, err := http.Get(r.url + "/health/ready")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, "ingest is not ready")
	return r
}

// runAll starts one of each and returns the ingest.
func (w *pipeline) runAll() *runningService {
	w.t.Helper()
	w.runDispatcher()
	w.runSender()
	return w.runIngest()
}

// request sends JSON and returns status, headers and body.
func (r *runningService) request(t testing.TB, method, path, body string, headers ...string) (int, http.Header, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, r.url+path, bytes.NewBufferString(body))
	require.NoError(t, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header, answer
}

// post stores a message and returns its id.
func (r *runningService) post(t testing.TB, body string, headers ...string) message.ID {
	t.Helper()
	status, _, answer := r.request(t, http.MethodPost, "/api/v1/messages", body, headers...)
	require.Equal(t, http.StatusCreated, status, "%s", answer)
	var m message.Message
	require.NoError(t, json.Unmarshal(answer, &m))
	return m.ID
}

// get returns a message as the API tells it.
func (r *runningService) get(t testing.TB, id message.ID) message.Message {
	t.Helper()
	status, _, answer := r.request(t, http.MethodGet, "/api/v1/messages/"+id.String(), "")
	require.Equal(t, http.StatusOK, status, "%s", answer)
	var m message.Message
	require.NoError(t, json.Unmarshal(answer, &m))
	return m
}

// awaitStatus waits until a message is in one of the states and returns it.
func (w *pipeline) awaitStatus(id message.ID, statuses ...message.Status) message.Message {
	w.t.Helper()
	var m message.Message
	testenv.Eventually(w.t, func() bool {
		var err error
		m, err = w.store.Get(w.t.Context(), id)
		return err == nil && slices.Contains(statuses, m.Status)
	}, "message %s does not get to %v", id, statuses)
	return m
}

// insert stores messages without an ingest; their created events are left to
// the relay.
func (w *pipeline) insert(messages ...message.Message) []message.ID {
	w.t.Helper()
	builder := events.NewEventBuilder(w.topology, w.env["EVENT_CONTENT"] == "full") // a relay publishes what is older than 5 s
	stored, _, err := w.store.Insert(w.t.Context(), messages, func(moved []message.Message) []byte {
		return events.EncodeOutbox(builder.Transitions(message.EventCreated, moved))
	})
	require.NoError(w.t, err)
	ids := make([]message.ID, len(stored))
	for i, s := range stored {
		ids[i] = s.Message.ID
	}
	return ids
}

// draft is a message ready to insert.
func draft(edits ...func(*message.Message)) message.Message {
	m := message.Message{
		ID: message.NewID(time.Now()), To: "+905551111111", Content: "hello",
		Destination: message.DefaultDestination, Priority: message.DefaultPriority,
	}
	for _, edit := range edits {
		edit(&m)
	}
	return m
}

// call is one request that reached the webhook.
type call = testenv.Call

// webhook is the far end.
type webhook struct{ *testenv.Webhook }

// respondWith sets what the webhook does from now on; nil accepts everything. n
// counts the calls for the id, from 1.
func (h *webhook) respondWith(answer func(n int, c call, w http.ResponseWriter, r *http.Request)) {
	if answer == nil {
		h.RespondWith(nil)
		return
	}
	h.RespondWith(func(c testenv.Call, w http.ResponseWriter, r *http.Request) { answer(c.Number, c, w, r) })
}

// received returns the calls so far, of one message or of all ("").
func (h *webhook) received(id string) []call { return h.Received(id) }

// startService starts one service as a process, with w's settings and the given
// ones on top. It ends with the test, or with the test process.
func (w *pipeline) startService(name string, given ...string) *testenv.Process {
	w.t.Helper()
	env := maps.Clone(w.env)
	for i := 0; i < len(given); i += 2 {
		env[given[i]] = given[i+1]
	}
	return testenv.StartService(w.t, env, name)
}

// freeAddr returns a loopback address that nobody listens on.
func freeAddr(t testing.TB) string { return embeddedtest.FreeAddr(t) }

// failOnce answers the first call of each message with 503.
func failOnce(n int, _ call, rw http.ResponseWriter, _ *http.Request) {
	if n == 1 {
		rw.WriteHeader(http.StatusServiceUnavailable)
	}
}
