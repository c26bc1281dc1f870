package service

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOps(t *testing.T) {
	t.Parallel()
	health := NewHealth()
	ops, err := ListenOps("127.0.0.1:0", health, NewMetrics())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ops.Run(ctx) }()

	ask := func(method, path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+ops.Addr()+path, nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	code, _ := ask("GET", "/health/ready")
	assert.Equal(t, 503, code, "probes are answered during the start")
	health.Serving()
	for _, tt := range []struct {
		method, path string
		code         int
		contains     string
	}{
		{"GET", "/health", 200, `"ok"`},
		{"HEAD", "/health", 200, ""},
		{"GET", "/health/ready", 200, `"checks"`},
		{"GET", "/metrics", 200, "dispatch_build_info"},
		{"POST", "/health", 405, ""},
		{"GET", "/", 404, ""},
	} {
		code, body := ask(tt.method, tt.path)
		assert.Equal(t, tt.code, code, tt.path)
		assert.Contains(t, body, tt.contains, tt.path)
	}

	t.Run("a taken port names its variable", func(t *testing.T) {
		_, err := ListenOps(ops.Addr(), health, NewMetrics())
		require.ErrorContains(t, err, "HEALTH_ADDR="+ops.Addr())
		assert.ErrorContains(t, err, "in use")
	})

	cancel()
	assert.NoError(t, <-ended)
	_, err = ops.listener.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
}

// TestOpsRefusesAmbiguousFraming sends requests that net/http alone accepts.
func TestOpsRefusesAmbiguousFraming(t *testing.T) {
	t.Parallel()
	ops, err := ListenOps("127.0.0.1:0", NewHealth(), NewMetrics())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ops.Run(ctx) }()
	const health = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for name, request := range map[string]string{
		"bare LF":             strings.ReplaceAll(health, "\r\n", "\n"),
		"a folded header":     "GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\r\n Content-Length: 9\r\n\r\n",
		"a length twice":      "GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
		"a length and chunks": "GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", ops.Addr())
		require.NoError(t, err)
		_, err = io.WriteString(conn, request+health)
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		answers, err := io.ReadAll(conn)
		require.NoError(t, err, name)
		require.NoError(t, conn.Close())
		assert.Regexp(t, `^HTTP/1\.1 400 Bad Request\r\n`, string(answers), name)
		assert.Equal(t, 1, strings.Count(string(answers), "HTTP/1.1 "), "%s: no later request on the connection is answered", name)
	}
	cancel()
	assert.NoError(t, <-ended)
}

func TestOpsOff(t *testing.T) {
	t.Parallel()
	ops, err := ListenOps("", NewHealth(), NewMetrics())
	require.NoError(t, err)
	assert.Empty(t, ops.Addr())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ops.Run(ctx) }()
	cancel()
	assert.NoError(t, <-ended)
}

func TestOpsReportsADeadListener(t *testing.T) {
	t.Parallel()
	ops, err := ListenOps("127.0.0.1:0", NewHealth(), NewMetrics())
	require.NoError(t, err)
	require.NoError(t, ops.listener.Close())
	assert.ErrorContains(t, ops.Run(t.Context()), "serve health and metrics")
}
