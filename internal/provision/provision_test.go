package provision_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
)

// TestProvisionSaysWhatRoomItNeeds is on a server whose account is too small.
func TestProvisionSaysWhatRoomItNeeds(t *testing.T) {
	t.Parallel()
	nats, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 1 << 30,
	})
	require.NoError(t, err)
	nats.Start()
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	require.True(t, nats.ReadyForConnections(time.Minute))

	js, err := jetstream.Connect(jetstream.Access{URL: nats.ClientURL()}, events.NewTopology("dispatch", 1), "test")
	require.NoError(t, err)
	t.Cleanup(js.Close)
	err = streams.Provision(t.Context(), js, nil)
	require.ErrorContains(t, err, "all streams 1216 MiB together, on each of 1 servers; make streams smaller")
}
