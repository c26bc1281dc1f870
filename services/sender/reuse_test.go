package sender

import (
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnIdleConnectionIsKeptNoLongerThanTheReceiverSays(t *testing.T) {
	t.Parallel()
	require.Less(t, idleTimeout, 5*time.Second, "after which many receivers close theirs")
	for value, want := range map[string]time.Duration{
		"":                     idleTimeout,
		"timeout=60":           idleTimeout,
		"timeout=5, max=100":   3750 * time.Millisecond,
		"max=1, Timeout = 2":   1500 * time.Millisecond,
		"timeout=0":            0,
		"timeout=-1":           idleTimeout,
		"timeout=soon":         idleTimeout,
		"timeout=999999999999": idleTimeout,
	} {
		require.Equal(t, want, idleFor(http.Header{"Keep-Alive": {value}}), "%q", value)
	}
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := newCheckedConn(near, near)
		defer func() { _, _ = c.Close(), far.Close() }()
		_, usable := c.begin()
		require.True(t, usable)
		c.keep(1, time.Second)
		time.Sleep(time.Second)
		_, usable = c.begin()
		require.True(t, usable)
		c.keep(2, time.Second)
		time.Sleep(time.Second + 1)
		_, usable = c.begin()
		require.False(t, usable)
	})
	serve := func(conn net.Conn, next func() *http.Request) {
		for r := next(); r != nil; r = next() {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=0\r\n\r\n")
		}
	}
	overEachWire(t, func(t *testing.T, receiver func(serving) careless) {
		c := receiver(serve)
		for n := range int32(3) {
			require.Equal(t, succeeded, c.webhook.attempt(t.Context(), testMessage(), 1).verdict)
			require.Equal(t, n+1, c.connections.Load())
		}
	})
}
