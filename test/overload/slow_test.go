package overload_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// slowMemory is the most that ingest may need however slow its clients are,
// and however many, in MiB.
const slowMemory = 1152

// slowClients hold connections open and do little on them.
type slowClients struct {
	addr    string
	ctx     context.Context
	all     sync.WaitGroup
	open    atomic.Int64
	refused atomic.Int64
}

// connect opens connections that send a beginning at once, and then a byte of
// the rest a second until they are cut off. They read nothing.
func (s *slowClients) connect(count int, beginning, rest string) {
	for range count {
		s.all.Go(func() {
			conn, err := (&net.Dialer{}).DialContext(s.ctx, "tcp", s.addr)
			if err != nil {
				s.refused.Add(1)
				return
			}
			defer conn.Close()
			s.open.Add(1)
			defer s.open.Add(-1)
			stop := context.AfterFunc(s.ctx, func() { _ = conn.Close() })
			defer stop()
			_ = conn.(*net.TCPConn).SetReadBuffer(1 << 10)
			if _, err := conn.Write([]byte(beginning)); err != nil {
				return
			}
			for n := 0; ; n++ {
				select {
				case <-s.ctx.Done():
					return
				case <-time.After(time.Second):
				}
				if rest == "" {
					continue
				}
				if _, err := conn.Write([]byte{rest[n%len(rest)]}); err != nil {
					return
				}
			}
		})
	}
}

func request(method, path string, header ...string) string {
	return method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n" + strings.Join(append(header, "\r\n"), "\r\n")
}

// Thousands of clients that send a byte a second, never end their header,
// their body or their stream, or never read their response: a client that behaves is
// served as always, and the memory that all of them cost has a bound.
//
// It is not parallel: the webhooks of other tests, which live in this process,
// could not read for longer than a sender waits.
func TestSlowClientsByTheThousand(t *testing.T) {
	i := install(t, testenv.Options{})
	i.Start()
	a := newResponses()
	for n := range 50 { // a list that no socket's buffer holds
		key := fmt.Sprintf("large-%d", n)
		require.True(t, i.postPayload(a, key, 200<<10))
	}

	ctx, cancel := context.WithCancel(t.Context())
	s := &slowClients{addr: i.ingest().Addr(), ctx: ctx}
	jsonType := "Content-Type: application/json"
	megabytes := `{"to":"+905551111111","payload":"` + strings.Repeat("x", 15<<20)
	s.connect(600, "", "") // not a word
	s.connect(1000, "POST /api/v1/messages HTTP/1.1\r\nX-Slow: ", "x")
	s.connect(300, request("POST", "/api/v1/messages", jsonType, "Content-Length: 1000000")+`{"to":"`, "9")
	s.connect(200, request("POST", "/api/v1/messages/batch", "Content-Type: application/x-ndjson", "Transfer-Encoding: chunked"), "1\r\n \r\n")
	s.connect(60, request("GET", "/api/v1/messages?limit=50"), "")
	s.connect(30, request("POST", "/api/v1/messages/batch", jsonType, fmt.Sprintf("Content-Length: %d", len(megabytes)+1))+megabytes, "")
	i.eventually("two thousand are connected", func() bool { return s.open.Load() >= 2000 })

	l := i.load(50 * time.Millisecond)
	i.more(l.answers, http.StatusCreated, 100)
	code, _, err := ask(i.ingest(), "/health/ready")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, code)
	t.Logf("%d slow clients, %.0f connections", s.open.Load(), i.metric(i.ingest(), "dispatch_ingest_http_connections"))
	require.GreaterOrEqual(t, s.open.Load(), int64(2000))
	if !testing.Short() {
		for range 7 { // longer than a header may take
			i.more(l.answers, http.StatusCreated, 100)
		}
		i.eventually("clients that did not end a header are cut off", func() bool { return s.open.Load() < 1000 })
	}
	i.requireMemory(slowMemory, i.ingest())

	cancel()
	s.all.Wait()
	i.eventually("their connections are gone", func() bool { return i.metric(i.ingest(), "dispatch_ingest_http_connections") < 50 })
	i.more(l.answers, http.StatusCreated, 20)
	l.stop()
	i.requireOnly(l.answers, http.StatusCreated, http.StatusOK)
	i.settle()
	i.requireMemory(maxMemory, i.dispatcher(), i.sender())
}

// postPayload hands in a message whose payload is large.
func (i *installation) postPayload(a *responses, key string, size int) bool {
	return i.postBody(a, key, fmt.Sprintf(`{"to":"+905551111111","payload":{"content":%q,"x":%q}}`, key, strings.Repeat("x", size)))
}
