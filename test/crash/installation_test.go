package crash_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/internal/provision"
	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/test/checker"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// Waits of the consumers. Provisioned ones are longer, because a live process
// may be slow; here a process that does not answer is dead.
const (
	senderAckWait = 8 * time.Second
	otherAckWait  = 3 * time.Second

	webhookTimeout = 4 * time.Second
)

// servers are what all installations share: each has a database and a prefix
// of its own.
type servers struct {
	nats  string
	redis string
}

var prefixes atomic.Int64

// installation is one of each service, as processes, on servers that live on.
type installation struct {
	t       *testing.T
	env     settings.Environment
	webhook *testenv.Webhook
	pool    *pgxpool.Pool
	store   *db.Store
	js      *jetstream.Client
	top     events.Topology
	nats    *testenv.NATS // only where a test breaks it

	ingest, dispatcher, sender *victim

	times    int                   // deaths in a row that this variant has
	quiet    time.Duration         // how long the victim may live on when nothing is on its way
	rejected int                   // entries that REJECTED must hold
	stops    []checker.Stop        // in which nothing may be emitted
	kills    []checker.Disturbance // that explain a request made twice

	mu       sync.Mutex
	promised []*promise
}

func install(t *testing.T, s servers, sc scenario) *installation {
	t.Helper()
	i := &installation{t: t, webhook: testenv.NewWebhook(t)}
	prefix := fmt.Sprintf("crash%d", prefixes.Add(1))
	i.env = settings.Environment{
		"DATABASE_URL":        strings.Replace(dbtest.URL(t), "&pool_max_conns=10", "", 1), // each service knows its own
		"NATS_URL":            s.nats,
		"PREFIX":              prefix,
		"WEBHOOK_URL":         i.webhook.URL,
		"WEBHOOK_TIMEOUT":     webhookTimeout.String(),
		"SHUTDOWN_TIMEOUT":    "20s",
		"PROCESSING_INTERVAL": "0",
		"RETRY_BASE":          "200ms",
		"RETRY_FACTOR":        "2",
		"LOG_LEVEL":           "warn",
		"GOMAXPROCS":          "1",
	}
	if sc.redis {
		i.env["REDIS_URL"] = s.redis
	}
	if sc.ownNATS {
		i.nats = testenv.StartNATS(t, 1, nil)[0]
		i.env["NATS_URL"] = i.nats.URL
	}
	maps.Copy(i.env, sc.settings)
	pool, err := dbpool.Open(t.Context(), withConnectTimeout(i.env["DATABASE_URL"]), dbpool.Options{Name: "test", MaxConns: 3})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	i.pool, i.store = pool, db.NewStore(pool)
	i.top = events.NewTopology(prefix, 1)
	i.js, err = jetstream.Connect(jetstream.Access{URL: i.env["NATS_URL"]}, i.top, "test")
	require.NoError(t, err)
	t.Cleanup(i.js.Conn().Close)
	i.provision()
	t.Cleanup(i.unprovision)
	i.ingest, i.dispatcher, i.sender = i.newVictim("ingest"), i.newVictim("dispatcher"), i.newVictim("sender")
	return i
}

// withConnectTimeout is the address for a test's own connections: one may take long while
// so many processes start.
func withConnectTimeout(address string) string { return address + "&connect_timeout=60" }

// provision is dispatch provision, with shorter waits.
func (i *installation) provision() {
	i.t.Helper()
	cfg, err := settings.Parse[provision.Config](i.env)
	require.NoError(i.t, err)
	require.NoError(i.t, provision.Run(i.t.Context(), cfg, zap.NewNop()))
	for _, consumer := range i.top.Consumers([]string{message.DefaultDestination}) {
		consumer.Config.AckWait = otherAckWait
		if consumer.Stream == i.top.DeliveriesStream() {
			consumer.Config.AckWait = senderAckWait
		}
		_, err := i.js.UpdateConsumer(i.t.Context(), consumer.Stream, consumer.Config)
		require.NoError(i.t, err)
	}
}

// unprovision keeps the shared NATS server small.
func (i *installation) unprovision() {
	for _, stream := range i.top.Streams() {
		_ = i.js.DeleteStream(context.WithoutCancel(i.t.Context()), stream.Name)
	}
}

// victim is a service that dies where its plan says, and is started again.
type victim struct {
	*testenv.Process
	t    *testing.T
	plan string // the file
	away bool   // it does not run until somebody starts it
}

func (i *installation) newVictim(name string) *victim {
	i.t.Helper()
	return newVictim(i.t, i.env, name, func(env map[string]string) *testenv.Process {
		return testenv.NewService(i.t, name, testenv.Build(i.t, "failpoints"), env, name)
	})
}

func newVictim(t *testing.T, env settings.Environment, name string, unit func(map[string]string) *testenv.Process) *victim {
	t.Helper()
	env = maps.Clone(env)
	env["FAILPOINT_PLAN"] = filepath.Join(t.TempDir(), name+".plan")
	return &victim{Process: unit(env), t: t, plan: env["FAILPOINT_PLAN"]}
}

// superviseDeaths plans deaths and checks each: the process must have been killed,
// where it was planned, and is started again. between is called while it is
// down. The returned channel is closed when all deaths are died, or the test
// has failed.
func (m *victim) superviseDeaths(deaths []string, between func()) <-chan struct{} {
	m.t.Helper()
	require.NoError(m.t, os.WriteFile(m.plan, []byte(strings.Join(deaths, "\n")), 0o600))
	m.Start()
	died := make(chan struct{})
	go func() {
		defer close(died)
		for n, death := range deaths {
			code := m.Wait()
			if m.t.Context().Err() != nil {
				return // the test has ended
			}
			if !m.diedAt(death, code) {
				m.t.Errorf("%s ended with code %d, and not at %s (death %d)", m.Name, code, death, n+1)
				return
			}
			m.Kill() // tidies up
			between()
			if err := m.TryStart(); err != nil {
				m.t.Errorf("start %s again: %v", m.Name, err)
				return
			}
		}
	}()
	return died
}

// diedAt says whether it was SIGKILL, and where the process said it would be.
func (m *victim) diedAt(death string, code int) bool {
	point := death[:strings.IndexAny(death+":", ":+")]
	return code == -1 && strings.HasSuffix(strings.TrimSpace(m.Output.String()), "failpoint: killed at "+point)
}

// client repeats a request until it is answered: a connection that breaks, or
// a 503, tells nothing.
func (i *installation) client(method, path, contentType, body string, headers ...string) (int, []byte) {
	i.t.Helper()
	deadline := time.Now().Add(testenv.WaitTimeout)
	for {
		status, answer, err := i.once(method, path, contentType, body, headers...)
		if err == nil && status != http.StatusServiceUnavailable {
			return status, answer
		}
		if time.Now().After(deadline) {
			i.t.Fatalf("%s %s is not answered: %d %v", method, path, status, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (i *installation) once(method, path, contentType, body string, headers ...string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(i.t.Context(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, i.ingest.URL+path, bytes.NewBufferString(body))
	if err != nil {
		return 0, nil, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	for n := 0; n < len(headers); n += 2 {
		request.Header.Set(headers[n], headers[n+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// promise is a message that was accepted, and what is expected of it.
type promise struct {
	id           message.ID
	key          string // its idempotency key, where the id is not told
	status       message.Status
	calls        int      // of the webhook
	userRequests []string // moves that a user asked for, each answered with a yes at last
	hopeless     bool     // FAILED without an attempt
	gone         bool     // erased, or past its retention
	tried        time.Time
}

func (p *promise) String() string { return fmt.Sprintf("%s %s", p.id, p.key) }

// promise notes an expectation.
func (i *installation) promise(p promise) *promise {
	i.mu.Lock()
	defer i.mu.Unlock()
	p.tried = time.Now()
	i.promised = append(i.promised, &p)
	return &p
}

func (i *installation) promises() []*promise {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]*promise(nil), i.promised...)
}

var keys atomic.Int64

// key is an idempotency key that was never used.
func key() string { return fmt.Sprintf("key-%d", keys.Add(1)) }

// body is a message with some fields more.
func body(content string, more ...string) string {
	return fmt.Sprintf(`{"to":"+905551111111","content":%q%s}`, content, strings.Join(append([]string{""}, more...), ","))
}

// post stores a message under a key of its own, as often as it takes.
func (i *installation) post(text string) *promise {
	i.t.Helper()
	return i.postUnder(key(), text)
}

func (i *installation) postUnder(key, text string) *promise {
	i.t.Helper()
	status, answer := i.client(http.MethodPost, "/api/v1/messages", "application/json", text, "Idempotency-Key", key)
	require.Contains(i.t, []int{http.StatusCreated, http.StatusOK}, status, "%s", answer)
	var m message.Message
	require.NoError(i.t, json.Unmarshal(answer, &m))
	return i.promise(promise{id: m.ID, key: key, status: message.Sent, calls: 1})
}

// insert stores messages whose ingest died before it could announce them.
func (i *installation) insert(count int) { i.insertAt(time.Now(), count) }

func (i *installation) insertAt(at time.Time, count int) (list []*promise) {
	i.t.Helper()
	builder := events.NewEventBuilder(i.top, false)
	group := make([]message.Message, count)
	for n := range group {
		group[n] = message.Message{
			ID: message.NewID(at), To: "+905551111111", Content: "hello",
			Destination: message.DefaultDestination, Priority: message.DefaultPriority,
			IdempotencyKey: key(), Scope: "test",
		}
	}
	stored, _, err := i.store.Insert(i.t.Context(), group, func(moved []message.Message) []byte {
		return events.EncodeOutbox(builder.Transitions(message.EventCreated, moved))
	})
	if err != nil {
		i.t.Error(err)
	}
	for _, s := range stored {
		list = append(list, i.promise(promise{id: s.Message.ID, key: s.Message.IdempotencyKey, status: message.Sent, calls: 1}))
	}
	return list
}

// eventually waits for something.
func (i *installation) eventually(what string, is func() bool) {
	i.t.Helper()
	for deadline := time.Now().Add(testenv.WaitTimeout); !is(); {
		if time.Now().After(deadline) {
			i.t.Fatalf("%s: not within %s", what, testenv.WaitTimeout)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// await waits until a message is in a state.
func (i *installation) await(p *promise, status message.Status) message.Message {
	i.t.Helper()
	var m message.Message
	i.eventually(fmt.Sprintf("message %s is %s", p, status), func() bool {
		var err error
		m, err = i.store.Get(i.t.Context(), p.id)
		return err == nil && m.Status == status
	})
	return m
}

func (i *installation) exec(statement string, arguments ...any) {
	i.t.Helper()
	_, err := i.pool.Exec(i.t.Context(), statement, arguments...)
	require.NoError(i.t, err)
}
