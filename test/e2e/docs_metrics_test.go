package e2e_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// metricNames returns the metrics that GET /metrics serves, without those of
// the Go runtime and the process, in their order.
func metricNames(t *testing.T, api *runningService) []string {
	t.Helper()
	status, _, page := api.request(t, http.MethodGet, "/metrics", "")
	require.Equal(t, http.StatusOK, status)
	problems, err := promlint.New(bytes.NewReader(page)).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	var names []string
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(string(page), -1) {
		if !regexp.MustCompile(`^(go|process|promhttp)_`).MatchString(found[1]) {
			names = append(names, found[1])
		}
	}
	return names
}

// documentedMetrics returns the metrics that docs/OPERATIONS.md lists.
func documentedMetrics(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/OPERATIONS.md")
	require.NoError(t, err)
	_, chapter, found := strings.Cut(string(page), "\n## Metrics\n")
	require.True(t, found)
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	var names []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)`").FindAllStringSubmatch(chapter, -1) {
		names = append(names, row[1])
	}
	return names
}

// awaitSent sends a message through and returns its id.
func awaitSent(t *testing.T, api *runningService) message.ID {
	t.Helper()
	id := api.post(t, hello)
	testenv.Eventually(t, func() bool { return api.get(t, id).Status == message.Sent })
	return id
}

func TestEveryMetricIsDocumented(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	api, dispatcher, sender := w.runIngest(), freeAddr(t), freeAddr(t)
	w.runDispatcher("HEALTH_ADDR", dispatcher)
	w.runSender("HEALTH_ADDR", sender)
	awaitSent(t, api)

	shared := []string{"dispatch_build_info", "dispatch_dependency_state"}
	var served []string
	for name, service := range map[string]*runningService{
		"ingest": api, "dispatcher": {url: "http://" + dispatcher}, "sender": {url: "http://" + sender},
	} {
		for _, metric := range metricNames(t, service) {
			if !slices.Contains(shared, metric) {
				require.True(t, strings.HasPrefix(metric, "dispatch_"+name+"_"), "%s is served by %s", metric, name)
				served = append(served, metric)
			}
		}
	}
	require.ElementsMatch(t, append(served, shared...), documentedMetrics(t))
}

func TestUpAnswersForAllItsServices(t *testing.T) {
	t.Parallel()
	u := startUp(t, embeddedtest.Dir(t))
	awaitSent(t, u.api)

	require.ElementsMatch(t, documentedMetrics(t), metricNames(t, u.api))
	_, _, page := u.api.request(t, http.MethodGet, "/metrics", "")
	status, _, answer := u.api.request(t, http.MethodGet, "/health/ready", "")
	require.Equal(t, http.StatusOK, status, "%s", answer)
	var health struct {
		Checks map[string]struct{ Status string }
	}
	require.NoError(t, json.Unmarshal(answer, &health))
	for _, service := range []string{"", "dispatcher.", "sender."} {
		for _, dependency := range []string{"postgres", "nats"} {
			require.Equal(t, "ok", health.Checks[service+dependency].Status, "%s: %s", service+dependency, answer)
		}
	}
	for _, service := range []string{"ingest", "dispatcher", "sender"} {
		require.Contains(t, string(page), `dispatch_dependency_state{dependency="postgres",service="`+service+`",state="ok"} 1`)
	}
	require.NoError(t, u.Terminate())
}
