package ingest

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// pipe is both ends of a connection.
func pipe(t *testing.T) (server, client net.Conn) {
	t.Helper()
	server, client = net.Pipe()
	t.Cleanup(func() { _ = server.Close(); _ = client.Close() })
	return server, client
}

func TestAConnectionWithoutARequestMakesRoom(t *testing.T) {
	t.Parallel()
	conns := connections{limit: 2}
	busyOne, _ := pipe(t)
	idleOne, _ := pipe(t)
	require.True(t, conns.add(busyOne))
	end := conns.begin(busyOne)
	require.True(t, conns.add(idleOne))

	third, _ := pipe(t)
	require.True(t, conns.add(third))
	_, err := idleOne.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "whoever asked nothing has to go")
	conns.begin(third)
	fourth, _ := pipe(t)
	require.False(t, conns.add(fourth), "all carry a request")

	end()
	require.True(t, conns.add(fourth))
	for _, conn := range []net.Conn{busyOne, idleOne, third, fourth} {
		conns.remove(conn)
	}
	require.Zero(t, conns.open)
	require.Zero(t, conns.count())
}

// listenerOf gives out what it holds, one after the other.
type listenerOf struct {
	net.Listener
	results []any
}

func (l *listenerOf) Accept() (net.Conn, error) {
	next := l.results[0]
	l.results = l.results[1:]
	if err, failed := next.(error); failed {
		return nil, err
	}
	return next.(net.Conn), nil
}

func TestAListenerOutlivesALackOfDescriptors(t *testing.T) {
	t.Parallel()
	idleOne, _ := pipe(t)
	next, _ := pipe(t)
	conns := &connections{}
	conns.add(idleOne)
	lack := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	listener := conns.listen(&listenerOf{results: []any{lack, next, net.ErrClosed}})
	conn, err := listener.Accept()
	require.NoError(t, err)
	require.Equal(t, next, conn.(*knownConn).Conn)
	_, err = idleOne.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "an idle connection has given its descriptor")
	_, err = listener.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestWhoFindsEveryConnectionTakenIsTold(t *testing.T) {
	t.Parallel()
	server, client := pipe(t)
	go refuseConnection(server)
	answer, err := io.ReadAll(client)
	require.NoError(t, err)
	require.Contains(t, string(answer), "HTTP/1.1 503 Service Unavailable\r\n")
	require.Contains(t, string(answer), "\r\nRetry-After: 1\r\n")
}

func TestLargeBodiesShareTheirRoom(t *testing.T) {
	t.Parallel()
	shared := newRoom(100)
	first := &metered{from: strings.NewReader(strings.Repeat("x", smallEnough+80)), room: shared}
	_, err := io.ReadAll(first)
	require.NoError(t, err)
	require.Equal(t, 80, first.taken)

	second := &metered{from: strings.NewReader(strings.Repeat("x", smallEnough+80)), room: shared}
	_, err = io.ReadAll(second)
	require.ErrorIs(t, err, errOverloaded)
	small := &metered{from: strings.NewReader(strings.Repeat("x", smallEnough)), room: shared}
	_, err = io.ReadAll(small)
	require.NoError(t, err, "a usual message needs no room")
	shared.give(first.taken + second.taken)
	require.EqualValues(t, 100, shared.left.Load())
}

func TestLinesThatWaitShareTheRoomOfBodies(t *testing.T) {
	t.Parallel()
	shared := newRoom(100)
	one := func() line { return line{data: make([]byte, 100-lineOverhead)} }
	crowded, alone := newLineQueue(shared), newLineQueue(shared)
	require.True(t, crowded.put(one()))
	require.Zero(t, shared.left.Load())
	require.True(t, alone.put(one()), "a first line has room always")

	waited := make(chan bool)
	go func() { waited <- crowded.put(one()) }()
	lines, err := crowded.take()
	require.NoError(t, err)
	require.NotEmpty(t, lines)
	require.True(t, <-waited)
	crowded.stored()
	for _, q := range []*lineQueue{crowded, alone} {
		q.end(errors.New("over"))
		q.leave()
		q.forget()
	}
	require.EqualValues(t, 100, shared.left.Load())
}
