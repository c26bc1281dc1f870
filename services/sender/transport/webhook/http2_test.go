package webhook

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Conn is a receiver's side of a connection with HTTP/2.
type http2Conn struct {
	*http2.Framer
	posts func()
}

// next returns the stream of the next request, once it has arrived completely; 0
// when the connection ends.
func (c http2Conn) next() uint32 {
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return 0
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = c.WriteSettingsAck()
			}
		case *http2.PingFrame:
			_ = c.WritePing(true, f.Data)
		case *http2.DataFrame:
			if f.StreamEnded() {
				c.posts()
				return f.StreamID
			}
		}
	}
}

// respond sends an empty response with status 204.
func (c http2Conn) respond(stream uint32) {
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: hpackStatus(), EndStream: true, EndHeaders: true})
}

func hpackStatus() []byte {
	var block headerBlock
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "204"})
	return block
}

type headerBlock []byte

func (b *headerBlock) Write(p []byte) (int, error) { *b = append(*b, p...); return len(p), nil }

// listenHTTP2 serves connections with HTTP/2, one frame at a time.
func listenHTTP2(t *testing.T, serve func(http2Conn)) *target {
	t.Helper()
	config, _ := certificate()
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	var r *receiver
	r = listen(t, config, func(conn net.Conn, _ func() *http.Request) {
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(conn, preface); err != nil {
			return // the client has found out that this host prefers HTTP/2
		}
		framer := http2.NewFramer(conn, conn)
		_ = framer.WriteSettings()
		serve(http2Conn{framer, func() { r.posts.Add(1) }})
	})
	c := newTarget(t, r.url, trusting)
	c.receiver = r
	return c
}

func TestHTTP2IsUsedWhereItIsOffered(t *testing.T) {
	t.Parallel()
	c := listenHTTP2(t, func(c http2Conn) {
		for stream := c.next(); stream != 0; stream = c.next() {
			c.respond(stream)
		}
	})
	for range 5 {
		require.Equal(t, 204, c.send(t.Context()).status)
	}
	require.EqualValues(t, 5, c.posts.Load())
	require.EqualValues(t, 2, c.connections.Load(), "one to find out, and one for all requests")
}

// The receiver says which requests it has not processed. Only these may be sent
// again.
func TestOnlyWhatHTTP2DeclaresUnprocessedIsSentAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end    func(c http2Conn, stream uint32)
		status int
		posts  int32
	}{
		"going away after a response":       {func(c http2Conn, stream uint32) { _ = c.WriteGoAway(stream, http2.ErrCodeNo, nil); c.respond(stream) }, 204, 1},
		"going away before the request":     {func(c http2Conn, _ uint32) { _ = c.WriteGoAway(0, http2.ErrCodeNo, nil) }, 204, 2},
		"going away, perhaps with the work": {func(c http2Conn, stream uint32) { _ = c.WriteGoAway(stream, http2.ErrCodeInternal, nil) }, 0, 1},
		"refusing the request": {func(c http2Conn, stream uint32) {
			_ = c.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
			c.respond(c.next())
		}, 204, 2},
		"giving up on the request":            {func(c http2Conn, stream uint32) { _ = c.WriteRSTStream(stream, http2.ErrCodeInternal); c.next() }, 0, 1},
		"closing the connection":              {func(http2Conn, uint32) {}, 0, 1},
		"speaking another protocol in return": {func(c http2Conn, _ uint32) { _ = c.WriteRawFrame(http2.FrameHeaders, 0, 0, []byte("HTTP/1.1 200 OK")) }, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := true
			to := listenHTTP2(t, func(conn http2Conn) {
				stream := conn.next()
				if stream != 0 && first {
					first = false
					c.end(conn, stream)
					return
				}
				for ; stream != 0; stream = conn.next() {
					conn.respond(stream)
				}
			})
			a := to.send(t.Context())
			require.Equal(t, c.status, a.status, a.text)
			require.Equal(t, c.posts, to.posts.Load())
			require.False(t, a.notSent)
		})
	}
}
