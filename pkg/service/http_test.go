package service

import (
	"context"
	"io"
	"net"
	"net/http"
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
	assert.Equal(t, 503, code, "the start can be watched")
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
