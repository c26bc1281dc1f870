package webhook

import (
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/services/sender/transport"
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
		require.Equal(t, want, idleTimeoutOf(http.Header{"Keep-Alive": {value}}), "%q", value)
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
	overEachPath(t, func(t *testing.T, receiving func(serving) *target) {
		c := receiving(serve)
		for n := range int32(3) {
			require.True(t, c.send(t.Context()).delivered())
			require.Equal(t, n+1, c.connections.Load())
		}
	})
}

func TestAPackedResponseIsUnpacked(t *testing.T) {
	t.Parallel()
	pack := func(text string) string {
		var packed bytes.Buffer
		writer := gzip.NewWriter(&packed)
		_, _ = io.WriteString(writer, text)
		_ = writer.Close()
		return packed.String()
	}
	id := `{"messageId":"x"}`
	for name, c := range map[string]struct{ coding, body, want string }{
		"packed":        {"gzip", pack(id), id},
		"an old name":   {" X-Gzip ", pack(id), id},
		"cut off":       {"gzip", pack(id)[:len(pack(id))-8], id},
		"not packed":    {"gzip", id, id},
		"another":       {"br", id, id},
		"a small large": {"gzip", pack(id + strings.Repeat(" ", 10<<20)), id + strings.Repeat(" ", transport.MaxBody-len(id))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := handledBy(t, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Encoding", c.coding)
				_, _ = io.WriteString(rw, c.body)
			})
			a := to.send(t.Context())
			require.True(t, a.delivered(), a.text)
			require.Equal(t, c.want, a.body)
		})
	}
}
