package overload_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// failure is something that is removed, and put back.
type failure struct {
	name  string
	take  func()
	back  func()
	unit  *testenv.Process // says so
	code  int              // of /health/ready
	entry string
	state string
}

// A consumer, a stream or the database is removed. The services that need it say
// so in their readiness and metrics, no process ends, and when it is back the work
// goes on.
func TestNothingDiesQuietly(t *testing.T) {
	t.Parallel()
	i := install(t, testenv.Options{Redis: true, Settings: map[string]string{"LEASE": "5s"}})
	i.Start()
	l := i.load(100 * time.Millisecond)
	i.more(l.answers, http.StatusCreated, 10)
	for _, failure := range []failure{
		{
			name: "the recorder's consumer is deleted", take: i.deleteConsumer("DISPATCH_EVENTS", "recorder"), back: i.Provision,
			unit: i.dispatcher(), code: http.StatusServiceUnavailable, entry: "recorder", state: "down",
		},
		{
			name: "the senders' consumer is deleted", take: i.deleteConsumer("DISPATCH_DELIVERIES", "sender-default"), back: i.Provision,
			unit: i.sender(), code: http.StatusServiceUnavailable, entry: "deliveries", state: "down",
		},
		{
			name: "the intake's consumer is deleted", take: i.deleteConsumer("DISPATCH_INTAKE", "ingest"), back: i.Provision,
			unit: i.ingest(), code: http.StatusOK, entry: "nats", state: "degraded",
		},
		{
			name: "the work queue is deleted", take: i.deleteStream("DISPATCH_DELIVERIES"), back: i.Provision,
			unit: i.dispatcher(), code: http.StatusServiceUnavailable, entry: "provisioned", state: "down",
		},
		{
			name: "the intake is deleted", take: i.deleteEmptyIntake, back: i.Provision,
			unit: i.ingest(), code: http.StatusOK, entry: "nats", state: "degraded",
		},
		{
			name: "the database is elsewhere", take: i.renameDatabase("dispatch", "elsewhere"), back: i.renameDatabase("elsewhere", "dispatch"),
			unit: i.ingest(), code: http.StatusServiceUnavailable, entry: "postgres", state: "down",
		},
		{
			name: "a table is elsewhere", take: i.exec("ALTER TABLE messages RENAME TO elsewhere"), back: i.exec("ALTER TABLE elsewhere RENAME TO messages"),
			unit: i.ingest(), code: http.StatusServiceUnavailable, entry: "storing", state: "down",
		},
	} {
		t.Log(failure.name)
		failure.take()
		i.awaitHealth(failure.unit, failure.code, failure.entry, failure.state)
		failure.back()
		i.isReady(i.Services()...)
		i.more(l.answers, http.StatusCreated, 5)
	}
	l.stop()
	i.requireOnly(l.answers, http.StatusCreated, http.StatusOK, http.StatusServiceUnavailable)
	i.settle()
	i.requireMemory(maxMemory, i.Services()...)
}

func (i *installation) deleteConsumer(stream, consumer string) func() {
	return func() { require.NoError(i.t, i.js.DeleteConsumer(i.t.Context(), stream, consumer)) }
}

func (i *installation) deleteStream(stream string) func() {
	return func() { require.NoError(i.t, i.js.DeleteStream(i.t.Context(), stream)) }
}

// deleteEmptyIntake takes care that nothing that was acknowledged goes with it.
func (i *installation) deleteEmptyIntake() {
	i.limit("DISPATCH_INTAKE", func(c *natsjs.StreamConfig) { c.Subjects = []string{"nobody.publishes.here"} })
	i.eventually("the intake is empty", func() bool { return i.stream("DISPATCH_INTAKE").Msgs == 0 })
	i.deleteStream("DISPATCH_INTAKE")()
}

func (i *installation) renameDatabase(from, to string) func() {
	return func() {
		i.inDatabase("postgres", func(ctx context.Context, conn *pgx.Conn) error {
			if _, err := conn.Exec(ctx, "ALTER DATABASE "+from+" ALLOW_CONNECTIONS false"); err != nil {
				return err
			}
			_, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1", from)
			if err == nil {
				_, err = conn.Exec(ctx, "ALTER DATABASE "+from+" RENAME TO "+to)
			}
			if err == nil {
				_, err = conn.Exec(ctx, "ALTER DATABASE "+to+" ALLOW_CONNECTIONS true")
			}
			return err
		})
	}
}

func (i *installation) exec(statement string) func() {
	return func() {
		i.asSuperuser(func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, statement)
			return err
		})
	}
}

// NATS does not know the services any more, and then lets them do less than
// they need: who is not let in goes on asking, and what answers requests over
// NATS says that it does not.
func TestARightThatIsWithdrawn(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	const known = "no_auth_user: dispatch\naccounts { A { jetstream: enabled, users: [ { user: dispatch, password: x, permissions: { publish: { allow: \">\" }, subscribe: { allow: \">\" %s } } } ] } }\n"
	rights := fmt.Sprintf(known, "")
	i := install(t, testenv.Options{
		NATSConfig: func(n testenv.NATSNode) string { return n.Config() + rights },
		Settings:   map[string]string{"LOG_LEVEL": "debug"}, // tells of each refusal
	})
	again := func(config string) {
		rights = config
		require.NoError(t, i.NATS[0].Terminate())
		i.NATS[0].Start()
	}
	i.Start()
	a := newResponses()
	require.True(t, i.post(a, "before", ""))
	i.eventually("control answers", i.controlled)

	again("authorization { user: somebody, password: else }\n")
	i.awaitHealth(i.dispatcher(), http.StatusServiceUnavailable, "nats", "down")
	i.awaitHealth(i.ingest(), http.StatusOK, "nats", "degraded")
	for _, u := range i.Services() {
		i.eventually(u.Name+" goes on asking", func() bool { return strings.Count(u.Output.String(), nats.ErrAuthorization.Error()) > 3 })
	}

	again(fmt.Sprintf(known, `, deny: ["dispatch.control.*", "dispatch.messages.*"]`))
	i.awaitHealth(i.dispatcher(), http.StatusOK, "permissions", "degraded")
	i.awaitHealth(i.ingest(), http.StatusOK, "permissions", "degraded")
	require.True(t, i.post(a, "meanwhile", ""))

	again(fmt.Sprintf(known, ""))
	i.isReady(i.Services()...)
	i.eventually("control answers again", i.controlled)
	i.settle()
}

// controlled says whether a dispatcher answers over NATS.
func (i *installation) controlled() bool {
	answer, err := i.js.Conn().Request("dispatch.control.status", nil, time.Second)
	var status struct{ State string }
	return err == nil && answer.Header.Get("Nats-Service-Error") == "" && json.Unmarshal(answer.Data, &status) == nil && status.State == "RUNNING"
}
