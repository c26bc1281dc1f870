package cli

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/internal/provision"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/natsd"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

func TestProvision(t *testing.T) {
	nats := embeddedtest.FreeAddr(t)
	server, err := natsd.Start(natsd.Config{Listen: nats, Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	t.Setenv("DATABASE_URL", dbtest.EmptyURL(t))
	t.Setenv("NATS_URL", "nats://"+nats)
	t.Setenv("LOG_LEVEL", "error")
	dispatch(t, "provision").OK(t)
	require.Equal(t, "up to date", clitest.Field(dispatch(t, "migrate", "status").OK(t), "state"))
	cfg, err := settings.Parse[provision.Config](settings.Environment{"DATABASE_URL": "postgres://x/x", "NATS_URL": "nats://" + nats})
	require.NoError(t, err)
	js, err := connect.NATS(jetstream.Access{URL: cfg.NATS.URL}, events.NewTopology("dispatch", 1))
	require.NoError(t, err)
	t.Cleanup(js.Conn().Close)
	require.NoError(t, streams.Check(t.Context(), js))
}

func TestUpAndTheServicesTellMistakesInTheirConfiguration(t *testing.T) {
	t.Setenv("HTTP_ADDR", "nowhere")
	t.Setenv("DATABASE_URL", "")
	dispatch(t, "up", "--data", embeddedtest.Dir(t)).Fails(t, 2, "HTTP_ADDR")
	for _, name := range []string{"ingest", "dispatcher", "sender", "provision"} {
		dispatch(t, name).Fails(t, 2) // every mistake is on the process's own stderr
		dispatch(t, name, "now").Fails(t, 2, name+" --help")
	}
}

// TestTheServices runs each one until the signal that ends a container.
func TestTheServices(t *testing.T) {
	i := startUp(t)
	t.Setenv("DATABASE_URL", i.Database)
	t.Setenv("NATS_URL", i.NATS)
	t.Setenv("WEBHOOK_URL", i.Webhook.URL)
	t.Setenv("LOG_LEVEL", "error")
	for _, name := range []string{"ingest", "dispatcher", "sender"} {
		t.Setenv("HTTP_ADDR", embeddedtest.FreeAddr(t))
		t.Setenv("HEALTH_ADDR", embeddedtest.FreeAddr(t))
		s := background(t, name)
		require.Eventually(t, func() bool { return dispatch(t, "health").Code == 0 }, patience, pause, name)
		require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
		require.Equal(t, 0, <-s.Code, name)
	}
}
