package doctor_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/internal/doctor"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/redis"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

func TestDoctorFindsNothingWrong(t *testing.T) {
	server, err := redis.Start(t.Context(), redis.Config{Ephemeral: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	i := startUp(t, "REDIS_URL", server.URL())
	t.Setenv("DATABASE_URL", i.Database)
	t.Setenv("NATS_URL", i.NATS)
	t.Setenv("REDIS_URL", server.URL())
	t.Setenv("WEBHOOK_URL", i.Webhook.URL)
	text := i.Dispatch(t, "doctor").OK(t)
	require.NotContains(t, text, "✗")
	require.NotContains(t, text, "→")
	for _, check := range []string{"configuration", "postgres", "schema", "nats", "stream", "consumer", "redis", "webhook", "api", "services"} {
		require.Contains(t, text, "✓ "+check)
	}
	require.Equal(t, 2, strings.Count(text, "its clock and this one differ by"), "Postgres' and NATS'")
	require.Empty(t, i.Webhook.Received(), "nothing is sent")

	var findings []doctor.Finding
	require.NoError(t, json.Unmarshal([]byte(i.Dispatch(t, "doctor", "--json").OK(t)), &findings))
	require.Len(t, findings, strings.Count(text, "\n"))
}

func TestDoctorSaysWhatToDo(t *testing.T) {
	i := startUp(t)
	t.Setenv("DATABASE_URL", dbtest.EmptyURL(t))
	t.Setenv("NATS_URL", i.NATS)
	t.Setenv("NATS_REPLICAS", "3")
	t.Setenv("BATCH_SIZE", "-1")
	topology := events.NewTopology("dispatch", 1)
	js, err := connect.NATS(jetstream.Access{URL: i.NATS}, topology)
	require.NoError(t, err)
	t.Cleanup(js.Conn().Close)
	require.NoError(t, js.DeleteConsumer(t.Context(), topology.ChangesStream(), events.CacheConsumer))

	i.Dispatch(t, "stop").OK(t)
	done := i.Dispatch(t, "doctor")
	require.Equal(t, 1, done.Code, "%s", done.Out)
	for _, text := range []string{
		`✗ configuration  BATCH_SIZE="-1": must be from 1`,
		"✗ schema         no schema", "→ run: dispatch provision",
		"✗ stream         DISPATCH_EVENTS: num_replicas is 1, not 3",
		"✗ consumer       cache of DISPATCH_CHANGES is missing",
		"– redis          not used",
		"– webhook        not checked",
		"– api            stopped",
	} {
		require.Contains(t, done.Out, text)
	}
}

func TestDoctorTellsWhatCanNotBeReached(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgres://x:secret@127.0.0.1:1/x")
	t.Setenv("NATS_URL", "nats://127.0.0.1:1")
	t.Setenv("REDIS_URL", "redis://127.0.0.1:1")
	t.Setenv("WEBHOOK_URL", "https://nowhere.invalid/hook")
	done := dispatch(t, "doctor", "--url", unused)
	require.Equal(t, 3, done.Code)
	for _, check := range []string{"postgres", "nats", "redis", "webhook", "api"} {
		require.Contains(t, done.Out, "✗ "+check)
	}
	require.Equal(t, strings.Count(done.Out, "✗"), strings.Count(done.Out, "→"), "each says what to do")
	require.NotContains(t, done.Out, "secret")
	dispatch(t, "doctor", "please").Fails(t, 2, "doctor --help")
}
