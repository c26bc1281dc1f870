package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/services/ingest/spectest"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// TestTheRoutesOfThePaceDoWhatTheirDescriptionSays has a dispatcher carry them
// out. What ingest answers by itself is held against the description there.
func TestTheRoutesOfThePaceDoWhatTheirDescriptionSays(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "PROCESSING_INTERVAL", "1h")
	w.runDispatcher()
	api := describe(w)

	const stop, start, status, pace = "/api/v1/messaging/stop", "/api/v1/messaging/start", "/api/v1/messaging/status", "/api/v1/messaging"
	require.Equal(t, true, api.ask(http.MethodPost, stop, "", http.StatusOK)["changed"])
	require.Equal(t, false, api.ask(http.MethodPost, stop, "{}", http.StatusOK)["changed"])
	require.Equal(t, "STOPPED", api.ask(http.MethodGet, status, "", http.StatusOK)["state"])
	require.Equal(t, true, api.ask(http.MethodPost, start, "", http.StatusOK)["changed"])
	for name, example := range api.operations["PATCH "+pace].RequestBody.Value.Content["application/json"].Examples {
		body, err := json.Marshal(example.Value.Value)
		require.NoError(t, err)
		answer := api.ask(http.MethodPatch, pace, string(body), int(example.Value.Extensions["x-status"].(float64)))
		if strings.Contains(name, "both") {
			require.InDelta(t, 10, answer["batchSize"], 0)
		}
	}
	testenv.Eventually(t, func() bool {
		return len(api.ask(http.MethodGet, status, "", http.StatusOK)["instances"].([]any)) == 2
	})
	for field := range api.spec.Components.Schemas["Overview"].Value.Properties {
		require.True(t, api.spec.Seen["Overview."+field], "no answer held %s", field)
	}
}

func TestAStopThatCantPublishIsDescribed(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.insert(draft())
	w.leaveUnpublished()
	w.sql("UPDATE outbox SET batch = '\\x00' WHERE is_claim")
	w.runDispatcher()
	answer := describe(w).ask(http.MethodPost, "/api/v1/messaging/stop", "", http.StatusServiceUnavailable)
	require.Equal(t, "claim_unpublished", answer["code"])
}

// describedAPI holds every answer of an ingest against the description that
// it serves.
type describedAPI struct {
	*runningService
	t          testing.TB
	spec       *spectest.Spec
	operations map[string]*openapi3.Operation
}

// describe starts an ingest; a dispatcher must be running.
func describe(w *pipeline) describedAPI {
	w.t.Helper()
	api := w.runIngest()
	w.awaitControl()
	_, _, yaml := api.request(w.t, http.MethodGet, "/openapi.yaml", "")
	spec := spectest.Read(w.t, yaml)
	return describedAPI{api, w.t, spec, spec.Operations()}
}

func (a describedAPI) ask(method, path, body string, want int) map[string]any {
	a.t.Helper()
	status, header, answer := a.request(a.t, method, path, body)
	require.Equal(a.t, want, status, "%s", answer)
	a.spec.CheckResponse(a.t, a.operations[method+" "+path], status, header, answer)
	var fields map[string]any
	require.NoError(a.t, json.Unmarshal(answer, &fields))
	return fields
}
