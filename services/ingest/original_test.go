package ingest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Starting and stopping need a dispatcher: test/e2e has tests of them.
func TestTheOriginalsStatus(t *testing.T) {
	t.Parallel()
	i := start(t)
	require.NoError(t, i.store.ProvisionSchedule(t.Context(), 2*time.Minute, 2))
	i.prepare("")
	i.post(`{"phoneNumber":"+905551234567","content":"as the original's clients say it"}`)

	var status map[string]any
	i.send(http.MethodGet, "/api/v1/scheduler/status", "").into(http.StatusOK, &status)
	next, ok := status["nextProcessingIn"].(string)
	require.True(t, ok)
	_, err := time.ParseDuration(next)
	require.NoError(t, err)
	delete(status, "nextProcessingIn")
	require.Equal(t, map[string]any{
		"isRunning": true, "isCurrentlyProcessing": false, "totalProcessed": 1.0, "totalSuccessful": 1.0, "totalFailed": 0.0,
		"lastProcessingTime": "0001-01-01T00:00:00Z", "interval": "2m0s", "batchSize": 2.0,
	}, status)

	processed := i.send(http.MethodPost, "/api/v1/messaging/process", "")
	require.Equal(t, http.StatusOK, processed.status)
	require.True(t, strings.HasPrefix(string(processed.body), `{"processedCount":0,"successCount":0,"failedCount":0,"errors":["no batch is taken up out of turn: the next batch comes `), "%s", processed.body)
	i.send(http.MethodPost, "/api/v1/messaging/process?batch_size=5", "").problem(http.StatusBadRequest, "invalid_parameters")
}
