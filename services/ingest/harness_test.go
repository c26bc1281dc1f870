package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/ingest"
)

// patience bounds every wait. Only a failure reaches it.
const patience = 30 * time.Second

// installation is an ingest with its own database. NATS is down.
type installation struct {
	t      testing.TB
	url    string
	client *http.Client
	store  *db.Store
	pool   *pgxpool.Pool // of store
	stop   func()        // drains it, or fails the test; idempotent
}

// start runs an ingest and returns once it is ready.
func start(t testing.TB, given ...string) *installation {
	t.Helper()
	i := launch(t, append([]string{"DATABASE_URL", dbtest.URL(t)}, given...)...)
	i.awaitReady(http.StatusOK)
	return i
}

// launch runs an ingest without waiting for it.
func launch(t testing.TB, given ...string) *installation {
	t.Helper()
	env := settings.Environment{
		"HTTP_ADDR":        freeAddr(t),
		"NATS_URL":         "nats://127.0.0.1:1",
		"SHUTDOWN_TIMEOUT": "20s",
	}
	for n := 0; n < len(given); n += 2 {
		env[given[n]] = given[n+1]
	}
	cfg, err := settings.Parse[ingest.Config](env)
	require.NoError(t, err)
	pool, err := dbpool.Open(t.Context(), env["DATABASE_URL"], dbpool.Options{Name: "test"})
	require.NoError(t, err)
	t.Cleanup(func() { dbpool.Close(pool) })

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- ingest.Run(ctx, cfg, zaptest.NewLogger(t)) }()
	i := &installation{
		t: t, url: "http://" + env["HTTP_ADDR"], store: db.NewStore(pool), pool: pool,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}},
	}
	i.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(patience):
			require.FailNow(t, "ingest does not stop")
		}
	})
	t.Cleanup(i.stop)
	return i
}

func (i *installation) awaitReady(status int) {
	i.t.Helper()
	require.Eventually(i.t, func() bool {
		response, err := i.client.Get(i.url + "/health/ready")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == status
	}, patience, 5*time.Millisecond, "ingest does not respond with %d", status)
}

// reply is a response of the API.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

// problem is an RFC 9457 document.
type problem struct {
	Type      string               `json:"type"`
	Title     string               `json:"title"`
	Status    int                  `json:"status"`
	Detail    string               `json:"detail"`
	Code      string               `json:"code"`
	RequestID string               `json:"requestId"`
	Errors    []message.FieldError `json:"errors"`
	Retried   *int                 `json:"retried"`
}

// send sends a request. Its body is JSON unless a header says otherwise.
func (i *installation) send(method, path, body string, headers ...string) reply {
	i.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = bytes.NewBufferString(body)
	}
	request, err := http.NewRequestWithContext(i.t.Context(), method, i.url+path, reader)
	require.NoError(i.t, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for n := 0; n < len(headers); n += 2 {
		switch name, value := headers[n], headers[n+1]; {
		case name == "Host":
			request.Host = value
		case value == "":
			request.Header.Del(name)
		default:
			request.Header.Set(name, value)
		}
	}
	return i.do(request)
}

// sendRequest sends a prepared request with a JSON body.
func (i *installation) sendRequest(request *http.Request, body string) reply {
	i.t.Helper()
	request.Header.Set("Content-Type", "application/json")
	request.Body, request.ContentLength = io.NopCloser(bytes.NewBufferString(body)), int64(len(body))
	return i.do(request)
}

func (i *installation) do(request *http.Request) reply {
	i.t.Helper()
	r, err := i.try(request)
	require.NoError(i.t, err)
	return r
}

func (i *installation) try(request *http.Request) (reply, error) {
	response, err := i.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return reply{t: i.t, status: response.StatusCode, header: response.Header, body: body}, err
}

// together posts JSON bodies to a path at the same time.
func (i *installation) together(path string, bodies []string, headers ...string) []reply {
	i.t.Helper()
	replies, errs := make([]reply, len(bodies)), make([]error, len(bodies))
	var sending sync.WaitGroup
	for n, body := range bodies {
		request, err := http.NewRequestWithContext(i.t.Context(), http.MethodPost, i.url+path, bytes.NewBufferString(body))
		require.NoError(i.t, err)
		request.Header.Set("Content-Type", "application/json")
		for h := 0; h < len(headers); h += 2 {
			request.Header.Set(headers[h], headers[h+1])
		}
		sending.Go(func() { replies[n], errs[n] = i.try(request) })
	}
	sending.Wait()
	require.NoError(i.t, errors.Join(errs...))
	return replies
}

// problem checks that the response is a complete problem with a status and a
// code, and returns it.
func (r reply) problem(status int, code string) problem {
	r.t.Helper()
	require.Equal(r.t, status, r.status, "%s", r.body)
	require.Equal(r.t, "application/problem+json", r.header.Get("Content-Type"))
	var p problem
	require.NoError(r.t, json.Unmarshal(r.body, &p), "%s", r.body)
	require.Equal(r.t, code, p.Code, "%s", r.body)
	require.Equal(r.t, status, p.Status)
	require.NotEmpty(r.t, p.Type)
	require.NotEmpty(r.t, p.Title)
	require.NotEmpty(r.t, p.Detail)
	require.NotEmpty(r.t, p.RequestID)
	require.Equal(r.t, p.RequestID, r.header.Get("X-Request-Id"))
	return p
}

// invalidFields checks that the response is a 422 with exactly these errors, each
// "field code".
func (r reply) invalidFields(want ...string) {
	r.t.Helper()
	require.ElementsMatch(r.t, want, r.problem(http.StatusUnprocessableEntity, "invalid").invalidFields())
}

func (p problem) invalidFields() []string {
	var got []string
	for _, e := range p.Errors {
		got = append(got, e.Field+" "+e.Code)
	}
	return got
}

// message checks the status and returns the message of the response.
func (r reply) message(status int) message.Message {
	r.t.Helper()
	require.Equal(r.t, status, r.status, "%s", r.body)
	require.Equal(r.t, "application/json", r.header.Get("Content-Type"))
	var m message.Message
	require.NoError(r.t, json.Unmarshal(r.body, &m), "%s", r.body)
	return m
}

// into checks the status and decodes the response.
func (r reply) into(status int, value any) {
	r.t.Helper()
	require.Equal(r.t, status, r.status, "%s", r.body)
	require.NoError(r.t, json.Unmarshal(r.body, value), "%s", r.body)
}

const (
	hello      = `{"to":"+905551111111","content":"hello"}`
	messages   = "/api/v1/messages"
	batches    = "/api/v1/messages/batch"
	statusPath = "/api/v1/messaging/status"
)

// post stores a message and returns it.
func (i *installation) post(body string, headers ...string) message.Message {
	i.t.Helper()
	return i.send(http.MethodPost, messages, body, headers...).message(http.StatusCreated)
}

func freeAddr(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}
