package ingest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

const bulkRetry = "/api/v1/messages/retry"

// put gives all PENDING messages another state, without a transition.
func (i *installation) put(status message.Status) {
	i.t.Helper()
	_, err := i.pool.Exec(i.t.Context(), `UPDATE messages SET status = $1 WHERE status = 'PENDING'`, status)
	require.NoError(i.t, err)
}

func (i *installation) retryAll(filter string) (matched, retried int) {
	i.t.Helper()
	var got struct {
		Matched, Retried int
		DryRun           bool
	}
	r := i.send(http.MethodPost, bulkRetry, filter)
	r.into(http.StatusOK, &got)
	require.Equal(i.t, strings.Contains(filter, `"dryRun":true`), got.DryRun)
	require.NotContains(i.t, string(r.body), "more")
	return got.Matched, got.Retried
}

func TestAllFailedMessagesCanBeRedriven(t *testing.T) {
	t.Parallel()
	i := start(t)
	for _, n := range []int{1000, 1000, 500} {
		i.send(http.MethodPost, batches, batchOf(n)).into(http.StatusOK, new(any))
	}
	i.put(message.Failed)
	i.send(http.MethodPost, batches, batchOf(3)).into(http.StatusOK, new(any))
	i.put(message.Cancelled)
	i.post(hello)
	i.put(message.Expired)
	i.post(hello)
	i.put(message.Sent)

	for filter, want := range map[string]int{
		`{"dryRun":true}`: 2500,
		`{"dryRun":true,"status":["cancelled","EXPIRED","EXPIRED"],"destination":null}`:                                              4,
		`{"dryRun":true,"destination":"elsewhere"}`:                                                                                  0,
		fmt.Sprintf(`{"dryRun":true,"createdAfter":%q}`, time.Now().Add(time.Hour).Format(time.RFC3339)):                             0,
		fmt.Sprintf(`{"dryRun":true,"status":"CANCELLED","createdBefore":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)): 3,
	} {
		matched, retried := i.retryAll(filter)
		require.Equal(t, want, matched, filter)
		require.Zero(t, retried)
	}
	matched, retried := i.retryAll(`{"destination":"default"}`)
	require.Equal(t, 2500, matched)
	require.Equal(t, 2500, retried)
	matched, retried = i.retryAll(`{}`)
	require.Zero(t, matched)
	require.Zero(t, retried)
	require.Len(t, i.list("status=CANCELLED&status=EXPIRED&status=SENT").Data, 5, "of others nobody spoke")
}

// The response names every invalid field at once.
func TestAnInvalidFilterRedrivesNothing(t *testing.T) {
	t.Parallel()
	i := start(t)
	i.post(hello)
	i.put(message.Failed)
	for body, want := range map[string][]string{
		`{"status":"SENT","state":"FAILED","destination":"No","createdAfter":"now","createdBefore":7,"dryRun":"yes"}`: {
			"status invalid_value", "state unknown_field", "destination invalid_format", "createdAfter invalid_format", "createdBefore wrong_type", "dryRun wrong_type",
		},
		`{"status":[]}`:                       {"status blank"},
		`{"status":7}`:                        {"status wrong_type"},
		`{"status":["FAILED","PENDING","x"]}`: {"status invalid_value", "status invalid_value"},
		`{"dryRun":true,"dryRun":false}`:      {"dryRun duplicate_field"},
		`{"createdAfter":"2030-01-01T00:00:00Z","createdBefore":"2030-01-01T01:00:00+01:00"}`: {"createdBefore out_of_range"},
	} {
		i.send(http.MethodPost, bulkRetry, body).invalidFields(want...)
	}
	for _, body := range []string{`[]`, `null`, `{} {}`, `{"dryRun":true`, `"FAILED"`} {
		i.send(http.MethodPost, bulkRetry, body).problem(http.StatusBadRequest, "malformed")
	}
	i.send(http.MethodPost, bulkRetry, "").problem(http.StatusUnsupportedMediaType, "unsupported_media_type")
	i.send(http.MethodPost, bulkRetry, "", "Content-Type", "application/json").problem(http.StatusBadRequest, "malformed")
	i.send(http.MethodPost, bulkRetry+"?dryRun=true", `{}`).problem(http.StatusBadRequest, "invalid_parameters")
	strays := strings.Repeat(`"a":1,`, 1000)
	require.Len(t, i.send(http.MethodPost, bulkRetry, `{`+strays+`"a":1}`).problem(http.StatusUnprocessableEntity, "invalid").Errors, 21)
	require.Len(t, i.list("status=FAILED").Data, 1)
}
