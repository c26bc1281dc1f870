package clitest

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/message-dispatcher/dispatch/internal/up"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
)

// Installation is a whole installation in this process, with a database and a
// directory of its own.
type Installation struct {
	URL      string // of the API
	NATS     string
	Database string
	Webhook  *Webhook
	execute  Execute
}

// Up starts an installation. It is in continuous mode unless the settings say
// otherwise, which are names and values that alternate.
func (execute Execute) Up(t *testing.T, settings ...string) *Installation {
	t.Helper()
	hook := newWebhook(t)
	listen := embeddedtest.FreeAddr(t)
	i := &Installation{NATS: "nats://" + listen, Database: dbtest.URL(t), Webhook: hook, execute: execute}
	env := Settings(
		"DATABASE_URL", i.Database, "NATS_LISTEN", listen, "HTTP_ADDR", embeddedtest.FreeAddr(t),
		"WEBHOOK_URL", hook.URL, "PROCESSING_INTERVAL", "0", "MAX_RETRIES", "0",
	)
	maps.Copy(env, Settings(settings...))
	cfg, err := up.Parse(env, embeddedtest.Dir(t))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan up.Addresses, 1), make(chan error, 1)
	log := zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel))
	go func() {
		done <- up.Run(ctx, cfg, log, nil, func(at up.Addresses) { ready <- at })
	}()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	select {
	case at := <-ready:
		i.URL = at.API
	case err := <-done:
		done <- err
		require.FailNow(t, "it does not start", "%v", err)
	case <-time.After(Patience):
		require.FailNow(t, "it does not get ready")
	}
	return i
}

// Dispatch runs a command line against the installation's API.
func (i *Installation) Dispatch(t *testing.T, args ...string) Ended {
	t.Helper()
	return i.execute.Run(t, "", append(args, "--url", i.URL)...)
}

// Send stores a message and returns its id.
func (i *Installation) Send(t *testing.T, args ...string) string {
	t.Helper()
	return Field(i.Dispatch(t, append([]string{"send"}, args...)...).OK(t), "id")
}

// Webhook refuses what contains "refuse me" and accepts everything else.
type Webhook struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
}

func newWebhook(t *testing.T) *Webhook {
	w := &Webhook{}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

// ServeHTTP implements http.Handler.
func (w *Webhook) ServeHTTP(response http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.mu.Lock()
	w.bodies = append(w.bodies, string(body))
	w.mu.Unlock()
	if strings.Contains(string(body), "refuse me") {
		response.WriteHeader(http.StatusBadRequest)
		return
	}
	_, _ = response.Write([]byte(`{"messageId":"ext-1"}`))
}

// Received returns the bodies of all requests so far.
func (w *Webhook) Received() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.bodies...)
}
