package httpapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest/metrics"
)

func TestAPanicIsLoggedAndNotShown(t *testing.T) {
	t.Parallel()
	core, logged := observer.New(zapcore.DebugLevel)
	registry := service.NewMetrics()
	a := New(Config{Health: service.NewHealth(), Registry: registry, Metrics: metrics.New(registry), Log: zap.New(core)})
	a.SetReady()
	request := httptest.NewRequest(http.MethodGet, "/api/v1/messages/"+message.NewID(time.Now()).String(), http.NoBody)
	request.Host = "localhost"
	request.Header.Set("X-Request-Id", "seen-in-the-log")
	response, err := a.app.Test(request) // the handler dereferences nil
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, response.StatusCode)
	require.Equal(t, "application/problem+json", response.Header.Get("Content-Type"))
	require.Contains(t, string(body), `"code":"internal"`)
	require.NotContains(t, string(body), "nil")
	require.NotContains(t, string(body), "goroutine")
	require.Len(t, logged.All(), 1)
	require.Equal(t, "seen-in-the-log", logged.All()[0].ContextMap()["requestId"])
	require.Contains(t, logged.All()[0].ContextMap()["stack"], "getMessage")
}
