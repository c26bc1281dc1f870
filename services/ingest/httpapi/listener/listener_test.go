package listener

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// pipe returns both ends of a connection.
func pipe(t *testing.T) (server, client net.Conn) {
	t.Helper()
	server, client = net.Pipe()
	t.Cleanup(func() { _ = server.Close(); _ = client.Close() })
	return server, client
}

func TestAnIdleConnectionMakesRoomForAnother(t *testing.T) {
	t.Parallel()
	conns := New(2)
	busyOne, _ := pipe(t)
	idleOne, _ := pipe(t)
	require.True(t, conns.add(busyOne))
	end := conns.Begin(busyOne)
	require.True(t, conns.add(idleOne))

	third, _ := pipe(t)
	require.True(t, conns.add(third))
	_, err := idleOne.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the idle one is closed")
	conns.Begin(third)
	fourth, _ := pipe(t)
	require.False(t, conns.add(fourth), "all are busy")

	end()
	require.True(t, conns.add(fourth))
	for _, conn := range []net.Conn{busyOne, idleOne, third, fourth} {
		conns.remove(conn)
	}
	require.Zero(t, conns.open)
	require.Zero(t, conns.Count())
}

// fakeListener returns its results one after the other.
type fakeListener struct {
	net.Listener
	results []any
}

func (l *fakeListener) Accept() (net.Conn, error) {
	next := l.results[0]
	l.results = l.results[1:]
	if err, failed := next.(error); failed {
		return nil, err
	}
	return next.(net.Conn), nil
}

func TestAListenerSurvivesALackOfDescriptors(t *testing.T) {
	t.Parallel()
	idleOne, _ := pipe(t)
	next, _ := pipe(t)
	conns := New(0)
	conns.add(idleOne)
	lack := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	listener := conns.Listen(&fakeListener{results: []any{lack, next, net.ErrClosed}})
	conn, err := listener.Accept()
	require.NoError(t, err)
	require.Equal(t, next, conn.(*trackedConn).Conn)
	_, err = idleOne.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the idle connection is closed")
	_, err = listener.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestAConnectionOverTheLimitGets503(t *testing.T) {
	t.Parallel()
	server, client := pipe(t)
	go refuse(server)
	response, err := io.ReadAll(client)
	require.NoError(t, err)
	require.Contains(t, string(response), "HTTP/1.1 503 Service Unavailable\r\n")
	require.Contains(t, string(response), "\r\nRetry-After: 1\r\n")
}
