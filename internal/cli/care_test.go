package cli

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/provision"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/natsd"
	"github.com/message-dispatcher/dispatch/pkg/embedded/redis"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

func TestMigrate(t *testing.T) {
	t.Setenv("DATABASE_URL", dbtest.EmptyURL(t))
	require.Contains(t, dispatch(t, "migrate", "status").ok(t), "no schema")
	require.Equal(t, "up to date", field(dispatch(t, "migrate", "up").ok(t), "state"))
	dispatch(t, "migrate", "down").fails(t, 2, "--yes")
	require.Equal(t, "up to date", field(dispatch(t, "migrate", "status").ok(t), "state"), "nothing was taken back")
	var state schemaState
	require.NoError(t, json.Unmarshal([]byte(dispatch(t, "migrate", "down", "--yes", "--json").ok(t)), &state))
	require.Equal(t, state.Wanted-1, state.Version)
}

func TestMigrateSaysWhatIsAllowed(t *testing.T) {
	dispatch(t, "migrate").fails(t, 2, "down, status, up")
	dispatch(t, "migrate", "sideways").fails(t, 2, "no sideways", "down, status, up")
	t.Setenv("DATABASE_URL", "")
	for _, verb := range []string{"up", "down", "status"} {
		dispatch(t, "migrate", verb).fails(t, 2, "DATABASE_URL")
		dispatch(t, "migrate", verb, "now").fails(t, 2, "--help")
	}
	t.Setenv("DATABASE_URL", "postgres://x:secret@127.0.0.1:1/x")
	for _, verb := range []string{"up", "down", "status"} {
		done := dispatch(t, "migrate", verb)
		done.fails(t, 3, "no answer from Postgres")
		require.NotContains(t, done.errOut, "secret")
	}
	t.Setenv("DATABASE_URL", strings.Replace(dbtest.URL(t), "dispatch:", "nobody:", 1))
	dispatch(t, "migrate", "status").fails(t, 1, "Postgres refuses us")
}

func TestDoctorFindsNothingWrong(t *testing.T) {
	server, err := redis.Start(t.Context(), redis.Config{Ephemeral: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	i := startUp(t, "REDIS_URL", server.URL())
	t.Setenv("DATABASE_URL", i.database)
	t.Setenv("NATS_URL", i.nats)
	t.Setenv("REDIS_URL", server.URL())
	t.Setenv("WEBHOOK_URL", i.webhook.URL)
	text := i.dispatch(t, "doctor").ok(t)
	require.NotContains(t, text, "✗")
	require.NotContains(t, text, "→")
	for _, check := range []string{"configuration", "postgres", "schema", "nats", "stream", "consumer", "redis", "webhook", "api", "services"} {
		require.Contains(t, text, "✓ "+check)
	}
	require.Equal(t, 2, strings.Count(text, "its clock and this one differ by"), "Postgres' and NATS'")
	require.Empty(t, i.webhook.received(), "nothing is sent")

	var findings []finding
	require.NoError(t, json.Unmarshal([]byte(i.dispatch(t, "doctor", "--json").ok(t)), &findings))
	require.Len(t, findings, strings.Count(text, "\n"))
}

func TestDoctorSaysWhatToDo(t *testing.T) {
	i := startUp(t)
	t.Setenv("DATABASE_URL", dbtest.EmptyURL(t))
	t.Setenv("NATS_URL", i.nats)
	t.Setenv("NATS_REPLICAS", "3")
	t.Setenv("BATCH_SIZE", "-1")
	js, err := connectNATS(events.Access{URL: i.nats})
	require.NoError(t, err)
	t.Cleanup(js.Conn().Close)
	topology := events.NewTopology("dispatch", 1)
	require.NoError(t, js.DeleteConsumer(t.Context(), topology.ChangesStream(), events.CacheConsumer))

	i.dispatch(t, "stop").ok(t)
	done := i.dispatch(t, "doctor")
	require.Equal(t, 1, done.code, "%s", done.out)
	for _, text := range []string{
		`✗ configuration  BATCH_SIZE="-1": must be from 1`,
		"✗ schema         no schema", "→ run: dispatch provision",
		"✗ stream         DISPATCH_EVENTS: num_replicas is 1, not 3",
		"✗ consumer       cache of DISPATCH_CHANGES is missing",
		"– redis          not used",
		"– webhook        not looked at",
		"– api            stopped",
	} {
		require.Contains(t, done.out, text)
	}
}

func TestDoctorTellsWhatCanNotBeReached(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgres://x:secret@127.0.0.1:1/x")
	t.Setenv("NATS_URL", "nats://127.0.0.1:1")
	t.Setenv("REDIS_URL", "redis://127.0.0.1:1")
	t.Setenv("WEBHOOK_URL", "https://nowhere.invalid/hook")
	done := dispatch(t, "doctor", "--url", unused)
	require.Equal(t, 3, done.code)
	for _, check := range []string{"postgres", "nats", "redis", "webhook", "api"} {
		require.Contains(t, done.out, "✗ "+check)
	}
	require.Equal(t, strings.Count(done.out, "✗"), strings.Count(done.out, "→"), "each says what to do")
	require.NotContains(t, done.out, "secret")
	dispatch(t, "doctor", "please").fails(t, 2, "doctor --help")
}

func TestProvision(t *testing.T) {
	nats := freeAddr(t)
	server, err := natsd.Start(natsd.Config{Listen: nats, Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	t.Setenv("DATABASE_URL", dbtest.EmptyURL(t))
	t.Setenv("NATS_URL", "nats://"+nats)
	t.Setenv("LOG_LEVEL", "error")
	dispatch(t, "provision").ok(t)
	require.Equal(t, "up to date", field(dispatch(t, "migrate", "status").ok(t), "state"))
	cfg, err := service.Parse[provision.Config](service.Environment{"DATABASE_URL": "postgres://x/x", "NATS_URL": "nats://" + nats})
	require.NoError(t, err)
	js, err := connectNATS(events.Access{URL: cfg.NATS.URL})
	require.NoError(t, err)
	t.Cleanup(js.Conn().Close)
	require.NoError(t, events.NewTopology("dispatch", 1).Check(t.Context(), js))
}
