package natsd_test

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/message-dispatcher/dispatch/pkg/embedded/natsd"
)

const freeAddr = "127.0.0.1:0"

func TestKeepsItsStreamsOverARestart(t *testing.T) {
	t.Parallel()
	for _, syncAlways := range []bool{false, true} {
		cfg := natsd.Config{Listen: freeAddr, Dir: filepath.Join(t.TempDir(), "nats"), SyncAlways: syncAlways}
		first := start(t, cfg)
		js := connect(t, first)
		_, err := js.CreateStream(t.Context(), natsjs.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}})
		require.NoError(t, err)
		_, err = js.Publish(t.Context(), "kept", []byte("42"))
		require.NoError(t, err)
		first.Stop()
		first.Stop()

		stream, err := connect(t, start(t, cfg)).Stream(t.Context(), "KEPT")
		require.NoError(t, err)
		message, err := stream.GetLastMsgForSubject(t.Context(), "kept")
		require.NoError(t, err)
		require.Equal(t, "42", string(message.Data))
	}
}

func TestATakenPortNamesTheVariable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", freeAddr)
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	_, err = natsd.Start(natsd.Config{Listen: listener.Addr().String(), Dir: t.TempDir()})
	require.ErrorIs(t, err, natsd.ErrListen)
	require.ErrorContains(t, err, "NATS_LISTEN")
}

func TestAnInvalidAddressNamesTheVariable(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"4222", "127.0.0.1:nats", "127.0.0.1:99999"} {
		_, err := natsd.Start(natsd.Config{Listen: listen, Dir: t.TempDir()})
		require.ErrorIs(t, err, natsd.ErrListen, listen)
		require.ErrorContains(t, err, "NATS_LISTEN", listen)
	}
}

func TestADirectoryHasOneServer(t *testing.T) {
	t.Parallel()
	cfg := natsd.Config{Listen: freeAddr, Dir: t.TempDir()}
	start(t, cfg)
	_, err := natsd.Start(cfg)
	require.ErrorIs(t, err, natsd.ErrInUse)
}

func TestConnectsWithoutASocket(t *testing.T) {
	t.Parallel()
	conn, err := nats.Connect("", nats.InProcessServer(start(t, natsd.Config{Listen: freeAddr, Dir: t.TempDir()})))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	require.NoError(t, conn.Flush())
}

func TestLogsNoticesAtDebugLevel(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.DebugLevel)
	start(t, natsd.Config{Listen: freeAddr, Dir: t.TempDir(), Logger: zap.New(core)}).Stop()
	require.NotZero(t, logs.Len())
	require.Zero(t, logs.Filter(func(e observer.LoggedEntry) bool { return e.Level == zap.InfoLevel }).Len())
}

func start(t *testing.T, cfg natsd.Config) *natsd.Server {
	t.Helper()
	server, err := natsd.Start(cfg)
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	return server
}

func connect(t testing.TB, server *natsd.Server) natsjs.JetStream {
	t.Helper()
	conn, err := nats.Connect(server.URL())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := natsjs.New(conn)
	require.NoError(t, err)
	return js
}
