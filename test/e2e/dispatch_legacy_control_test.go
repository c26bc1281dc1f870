package e2e_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// TestTheLegacySchedulerRoutes is what a client of the original does.
func TestTheLegacySchedulerRoutes(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	api := w.runAll()
	testenv.Eventually(t, func() bool {
		status, _, _ := api.request(t, http.MethodPost, "/api/v1/messaging/start", "")
		return status == http.StatusOK
	}, "no dispatcher answers")
	for _, step := range []struct {
		verb   string
		status int
		body   string
	}{
		{"start", http.StatusConflict, ""},
		{"stop", http.StatusOK, `{"message":"scheduler stopped successfully","status":"stopped"}`},
		{"stop", http.StatusConflict, ""},
		{"start", http.StatusOK, `{"message":"scheduler started successfully","status":"running"}`},
	} {
		status, _, body := api.request(t, http.MethodPost, "/api/v1/scheduler/"+step.verb, "")
		require.Equal(t, step.status, status, "%s: %s", step.verb, body)
		if step.body != "" {
			require.JSONEq(t, step.body, string(body))
		} else {
			require.Contains(t, string(body), `"wrong_state"`)
		}

		running := step.verb == "start"
		_, _, body = api.request(t, http.MethodGet, "/api/v1/scheduler/status", "")
		var there struct{ IsRunning bool }
		require.NoError(t, json.Unmarshal(body, &there))
		require.Equal(t, running, there.IsRunning)
		_, _, body = api.request(t, http.MethodPost, "/api/v1/messaging/process", "")
		if !running {
			require.Contains(t, string(body), "sending is stopped")
		}
	}
	w.awaitStatus(api.post(t, `{"phoneNumber":"+905551234567","content":"x"}`), message.Sent)
}
