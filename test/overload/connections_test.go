package overload_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// Others take every connection that Postgres has: clients get 503 with
// Retry-After, every service says so, and comes back when they leave.
func TestPostgresHasNoConnectionLeft(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	i := install(t, testenv.Options{Postgres: map[string]string{"max_connections": "60"}})
	i.Start()
	l := i.load(100 * time.Millisecond)
	i.more(l.answers, http.StatusCreated, 10)

	others := i.takeConnections()
	i.more(l.answers, http.StatusServiceUnavailable, 10)
	for _, u := range i.Services() {
		i.awaitHealth(u, http.StatusServiceUnavailable, "postgres", "down")
	}
	others()
	i.isReady(i.Services()...)
	i.more(l.answers, http.StatusCreated, 10)
	l.stop()
	i.requireOnly(l.answers, http.StatusCreated, http.StatusOK, http.StatusServiceUnavailable)
	i.settle()
	i.requireMemory(maxMemory, i.Services()...)
}

// takeConnections takes every connection, also those that the services have now, until
// the returned function is called.
func (i *installation) takeConnections() (leave func()) {
	i.t.Helper()
	ctx, cancel := context.WithCancel(i.t.Context())
	first, err := pgx.Connect(ctx, i.Postgres.URL)
	require.NoError(i.t, err)
	held := []*pgx.Conn{first}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			// Whatever is not ours goes, and we are there first, sooner or later.
			_, _ = first.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'dispatch-%'") // the next turn repeats it
			for {
				conn, err := pgx.Connect(ctx, i.Postgres.URL)
				if err != nil {
					break
				}
				held = append(held, conn)
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() {
		cancel()
		<-ended
		for _, conn := range held {
			_ = conn.Close(context.Background()) // it has gone either way
		}
	}
}

// NATS takes no more connections than others have: who is not let in says so,
// and goes on asking.
func TestNATSHasNoConnectionLeft(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	limit := ""
	i := install(t, testenv.Options{NATSConfig: func(n testenv.NATSNode) string { return n.Config() + limit }})
	i.Start()
	l := i.load(100 * time.Millisecond)
	i.more(l.answers, http.StatusCreated, 10)

	limit = "max_connections: 1\n"
	require.NoError(t, i.NATS[0].Terminate())
	i.NATS[0].Start()
	other := i.takeNATSConnections() // the only one
	i.awaitHealth(i.ingest(), http.StatusOK, "nats", "degraded")
	i.awaitHealth(i.dispatcher(), http.StatusServiceUnavailable, "nats", "down")
	i.awaitHealth(i.sender(), http.StatusServiceUnavailable, "nats", "down")
	i.more(l.answers, http.StatusCreated, 10)

	other()
	limit = ""
	require.NoError(t, i.NATS[0].Terminate())
	i.NATS[0].Start()
	i.isReady(i.Services()...)
	i.more(l.answers, http.StatusCreated, 10)
	l.stop()
	i.requireOnly(l.answers, http.StatusCreated, http.StatusOK)
	i.settle()
}

// takeNATSConnections connects to NATS again and again, as soon as it is let in, and stays.
func (i *installation) takeNATSConnections() (leave func()) {
	ctx, cancel := context.WithCancel(i.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			conn, err := net.Dial("tcp", i.NATS[0].Node.Listen)
			if err != nil {
				continue
			}
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			buffer := make([]byte, 4096)
			_, err = conn.Write([]byte("CONNECT {\"verbose\":false}\r\n"))
			for err == nil {
				_, err = conn.Read(buffer)
				if err == nil {
					_, err = conn.Write([]byte("PONG\r\n"))
				}
			}
			stop()
			_ = conn.Close()
		}
	}()
	return func() { cancel(); <-ended }
}

// limited starts a service with so few file descriptors.
func (i *installation) limited(service string, descriptors int, env map[string]string) *testenv.Process {
	i.t.Helper()
	script := filepath.Join(i.t.TempDir(), service)
	text := fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec '%s' \"$@\"\n", descriptors, i.Program)
	require.NoError(i.t, os.WriteFile(script, []byte(text), 0o700))
	settings := maps.Clone(i.Env)
	maps.Copy(settings, env)
	settings["WEBHOOK_URL"] += "/" + service + "-1"
	return testenv.NewService(i.t, service+"-1", script, settings, service)
}

// Clients take more connections than ingest has descriptors for: the idle ones
// make room for those that ask something, and Postgres and NATS can be
// connected to again.
func TestClientsTakeAllDescriptorsOfIngest(t *testing.T) {
	t.Parallel()
	i := install(t, testenv.Options{})
	i.Ingests[0] = i.limited("ingest", 256, nil)
	i.Start()
	ctx, cancel := context.WithCancel(t.Context())
	s := &slowClients{addr: i.ingest().Addr(), ctx: ctx}
	s.connect(600, "POST /api/v1/messages HTTP/1.1\r\nX-Slow: ", "x")
	l := i.load(100 * time.Millisecond)
	i.more(l.answers, http.StatusCreated, 20)
	require.NoError(t, i.NATS[0].Terminate())
	i.NATS[0].Start()
	require.NoError(t, i.Postgres.Terminate())
	i.Postgres.Start()
	i.isReady(i.Services()...)
	require.LessOrEqual(t, int(i.metric(i.ingest(), "process_open_fds")), 256)
	i.more(l.answers, http.StatusCreated, 20)
	cancel()
	s.all.Wait()
	l.stop()
	// No answer at all (0) is one too: the connection on which it was to come
	// had just made room for another.
	i.requireOnly(l.answers, 0, http.StatusCreated, http.StatusOK, http.StatusServiceUnavailable)
	i.settle()
	i.requireMemory(maxMemory, i.ingest())
}

// A sender has too few descriptors for its requests: what it can't send costs
// no attempt, and is sent when there are some.
func TestASenderWithoutDescriptors(t *testing.T) {
	t.Parallel()
	i := install(t, testenv.Options{})
	i.Senders[0] = i.limited("sender", 48, map[string]string{"MAX_RETRIES": "1"})
	i.promises.MaxRetries = 1
	i.Webhook.RespondWith(testenv.Slowly(500 * time.Millisecond))
	i.Start()
	a := newResponses()
	for n := range 150 {
		require.True(t, i.post(a, fmt.Sprintf("many-%d", n), ""))
	}
	i.eventually("it lacks descriptors", func() bool {
		return i.metric(i.sender(), `dispatch_sender_deliveries_unsent_total{destination="default",reason="no_connection"}`) > 0
	})
	record := i.settle()
	for _, row := range record.Rows {
		require.Equal(t, "SENT", row.Status, "%s %s", row.ID, row.LastError)
		require.Equal(t, 1, row.Attempts)
	}
}
