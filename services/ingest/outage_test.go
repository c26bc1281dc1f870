package ingest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/migrate"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/postgres"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// server is a Postgres that a test can stop.
type server struct {
	t   *testing.T
	cfg postgres.Config
	*postgres.Server
}

func startPostgres(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, cfg: postgres.Config{Dir: embeddedtest.Dir(t), Settings: map[string]string{"fsync": "off"}}}
	s.start()
	require.NoError(t, s.CreateDatabase(t.Context(), "dispatch"))
	s.cfg.Port = s.Port()
	return s
}

func (s *server) start() {
	s.t.Helper()
	server, err := postgres.Start(s.t.Context(), s.cfg)
	require.NoError(s.t, err)
	s.Server = server
	s.t.Cleanup(s.stop)
}

func (s *server) stop() { require.NoError(s.t, s.Stop(context.WithoutCancel(s.t.Context()))) }

func (s *server) migrate() {
	s.t.Helper()
	pool, err := dbpool.Open(s.t.Context(), s.URL("dispatch"), dbpool.Options{Name: "test"})
	require.NoError(s.t, err)
	defer dbpool.Close(pool)
	require.NoError(s.t, migrate.Up(s.t.Context(), pool))
}

func TestPostgresStopsAndStartsAgain(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t)
	pg.migrate()
	i := launch(t, "DATABASE_URL", pg.URL("dispatch"))
	i.awaitReady(http.StatusOK)
	before := i.post(hello, "Idempotency-Key", "k")

	pg.stop()
	for _, refused := range []reply{
		i.send(http.MethodPost, messages, hello),
		i.send(http.MethodPost, batches, batchOf(3)),
		i.send(http.MethodGet, messages, ""),
		i.send(http.MethodGet, messages+"/"+before.ID.String(), ""),
		i.send(http.MethodPost, messages+"/"+before.ID.String()+"/cancel", ""),
		i.send(http.MethodGet, statusPath, ""),
	} {
		p := refused.problem(http.StatusServiceUnavailable, "unavailable")
		require.NotEmpty(t, refused.header.Get("Retry-After"))
		require.NotContains(t, p.Detail, "127.0.0.1")
	}
	// An invalid request is still rejected.
	i.send(http.MethodPost, messages, `{}`).invalidFields("to required", "content required")
	i.awaitReady(http.StatusServiceUnavailable)

	pg.start()
	require.Eventually(t, func() bool {
		return i.send(http.MethodPost, messages, hello, "Idempotency-Key", "k").status == http.StatusOK
	}, patience, 50*time.Millisecond)
	i.awaitReady(http.StatusOK)
	require.Len(t, i.list("").Data, 1, "what was refused was not stored")
}

func TestItWaitsForPostgresAndItsSchema(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t)
	pg.stop()
	i := launch(t, "DATABASE_URL", pg.URL("dispatch"))
	i.awaitReady(http.StatusServiceUnavailable)
	refused := i.send(http.MethodPost, messages, hello)
	refused.problem(http.StatusServiceUnavailable, "unavailable")
	require.NotEmpty(t, refused.header.Get("Retry-After"))

	pg.start()
	i.send(http.MethodPost, messages, hello).problem(http.StatusServiceUnavailable, "unavailable")
	pg.migrate()
	i.awaitReady(http.StatusOK)
	i.post(hello)
}

func TestItCanBeStoppedWhileItWaits(t *testing.T) {
	t.Parallel()
	i := launch(t, "DATABASE_URL", "postgres://127.0.0.1:1/nothing")
	i.awaitReady(http.StatusServiceUnavailable)
	i.stop()
}

// The connection to the database breaks during the second batch.
func TestABulkRedriveThatFailsSaysHowManyItHasRedriven(t *testing.T) {
	t.Parallel()
	i := start(t)
	for range 2 {
		i.send(http.MethodPost, batches, batchOf(1000)).into(http.StatusOK, new(any))
	}
	i.put(message.Failed)
	_, err := i.pool.Exec(t.Context(), `
		CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
		CREATE TABLE last AS SELECT id FROM messages ORDER BY id DESC LIMIT 1;
		CREATE FUNCTION is_last(uuid) RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM last WHERE id = $1)';
		CREATE TRIGGER die BEFORE UPDATE ON messages FOR EACH ROW WHEN (is_last(NEW.id)) EXECUTE FUNCTION die()`)
	require.NoError(t, err)

	broken := i.send(http.MethodPost, bulkRetry, `{}`)
	p := broken.problem(http.StatusServiceUnavailable, "unavailable")
	require.NotEmpty(t, broken.header.Get("Retry-After"))
	require.NotNil(t, p.Retried)
	require.Equal(t, 1000, *p.Retried)
	require.Contains(t, p.Detail, "1000 messages were redriven")
	_, err = i.pool.Exec(t.Context(), `DROP TRIGGER die ON messages`)
	require.NoError(t, err)

	matched, retried := i.retryAll(`{}`)
	require.Equal(t, []int{1000, 1000}, []int{matched, retried}, "the same request continues with the rest")
}

// The clients send without end. They get the response before the end of their
// bodies.
func TestAStreamThatCannotBeginIsRejectedAtOnce(t *testing.T) {
	t.Parallel()
	i := launch(t, "DATABASE_URL", "postgres://127.0.0.1:1/nothing")
	i.awaitReady(http.StatusServiceUnavailable)
	body, lines := io.Pipe()
	defer lines.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, i.url+batches, body)
	require.NoError(t, err)
	request.Header.Set("Content-Type", lineType)
	go fmt.Fprintln(lines, hello)
	refused := i.do(request) // returns although the body has not ended
	refused.problem(http.StatusServiceUnavailable, "unavailable")
	require.NotEmpty(t, refused.header.Get("Retry-After"))

	conn := i.dial()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		batches, lineType, 1<<30, strings.Repeat("\n", 64<<10))
	require.Equal(t, "HTTP/1.1 503 Service Unavailable", statusLine(t, conn))
}
