package ingest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestAMessageIsStoredAndShown(t *testing.T) {
	t.Parallel()
	i := start(t)
	stored := i.send(http.MethodPost, messages, `{"phoneNumber":"+90 (555) 111 11 11","content":"a < b & c","priority":9,"type":"invoice.paid","metadata":{"order":"7"}}`)
	m := stored.message(http.StatusCreated)
	require.Equal(t, messages+"/"+m.ID.String(), stored.header.Get("Location"))
	require.Equal(t, "+905551111111", m.To)
	require.Equal(t, message.Pending, m.Status)
	require.Equal(t, 9, m.Priority)
	require.WithinDuration(t, time.Now(), m.CreatedAt, time.Minute)
	require.Contains(t, string(stored.body), "a < b & c", "a client without a JSON parser can read it too")

	shown := i.send(http.MethodGet, stored.header.Get("Location"), "").message(http.StatusOK)
	require.Equal(t, m, shown)
	var attempts struct {
		Data []message.Attempt `json:"data"`
	}
	i.send(http.MethodGet, messages+"/"+m.ID.String()+"/attempts", "").into(http.StatusOK, &attempts)
	require.NotNil(t, attempts.Data)
	require.Empty(t, attempts.Data)
}

func TestCancelAndRetry(t *testing.T) {
	t.Parallel()
	i := start(t)
	path := messages + "/" + i.post(hello).ID.String()

	i.send(http.MethodPost, path+"/retry", "").problem(http.StatusConflict, "wrong_state")
	require.Equal(t, message.Cancelled, i.send(http.MethodPost, path+"/cancel", "{}").message(http.StatusOK).Status)
	i.send(http.MethodPost, path+"/cancel", "").problem(http.StatusConflict, "wrong_state")
	i.send(http.MethodPost, path+"/cancel", `{"why":"?"}`).problem(http.StatusBadRequest, "malformed")

	i.send(http.MethodPost, path+"/retry", `{"expiresAt":"2001-01-01T00:00:00Z","deliverAt":1}`).
		invalidFields("expiresAt out_of_range", "deliverAt unknown_field")
	i.send(http.MethodPost, path+"/retry", `{"expiresAt":7}`).invalidFields("expiresAt wrong_type")
	i.send(http.MethodPost, path+"/retry", `{"expiresAt":"tomorrow"}`).invalidFields("expiresAt invalid_format")
	i.send(http.MethodPost, path+"/retry", `{"expiresAt":"2096-01-31T1:00:00Z"}`).invalidFields("expiresAt invalid_format")
	i.send(http.MethodPost, path+"/retry", `{"expiresAt":"9999-12-31T23:59:59-01:00"}`).invalidFields("expiresAt out_of_range")
	i.send(http.MethodPost, path+"/retry", `{"expiresAt":"2096-01-31T12:00:00Z","expiresAt":null}`).invalidFields("expiresAt duplicate_field")
	i.send(http.MethodPost, path+"/retry", `[]`).problem(http.StatusBadRequest, "malformed")
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	m := i.send(http.MethodPost, path+"/retry", `{"expiresAt":"`+until.Format(time.RFC3339Nano)+`"}`).message(http.StatusOK)
	require.Equal(t, message.Pending, m.Status)
	require.True(t, until.Equal(*m.ExpiresAt))

	i.send(http.MethodPost, path+"/cancel", "").message(http.StatusOK)
	require.Nil(t, i.send(http.MethodPost, path+"/retry", "").message(http.StatusOK).ExpiresAt, "an expiry is not taken over")
}

func TestAnUnknownMessageGets404(t *testing.T) {
	t.Parallel()
	i := start(t)
	path := messages + "/" + message.NewID(time.Now()).String()
	i.send(http.MethodGet, path, "").problem(http.StatusNotFound, "not_found")
	i.send(http.MethodGet, path+"/attempts", "").problem(http.StatusNotFound, "not_found")
	i.send(http.MethodPost, path+"/cancel", "").problem(http.StatusNotFound, "not_found")
	i.send(http.MethodPost, path+"/retry", "").problem(http.StatusNotFound, "not_found")
	i.send(http.MethodGet, "/api/v1/nothing", "").problem(http.StatusNotFound, "not_found")
	require.Contains(t, i.send(http.MethodGet, "/", "").problem(http.StatusNotFound, "not_found").Detail, "/docs")
	require.Contains(t, i.send(http.MethodDelete, "/api/v1/messaging/start", "").problem(http.StatusMethodNotAllowed, "method_not_allowed").Detail, "this path takes POST")
	require.Contains(t, i.send(http.MethodPost, messages, hello, "Content-Type", "application/x-www-form-urlencoded").
		problem(http.StatusUnsupportedMediaType, "unsupported_media_type").Detail, `is "application/x-www-form-urlencoded"`)
	i.send(http.MethodGet, messages+"/seven", "").problem(http.StatusBadRequest, "invalid_parameters")
	i.send(http.MethodPost, messages+"/seven/cancel", "").problem(http.StatusBadRequest, "invalid_parameters")
}

func TestABatchHasAResultForEachItem(t *testing.T) {
	t.Parallel()
	i := start(t)
	var got struct {
		Accepted, Rejected int
		Results            []struct {
			Index    int
			ID       *message.ID
			Repeated bool
			Error    *problem
		}
	}
	i.send(http.MethodPost, batches, `[
		{"to":"+905551111111","content":"one","idempotencyKey":"k"},
		{"to":"nobody","content":""},
		{"to":"+905551111111","content":"one","idempotencyKey":"k"},
		7,
		{"to":"+905551111111","content":"two","idempotencyKey":"k"},
		{"to":"+905551111111","payload":{"a":[1,2,{"b":null}]}}
	]`).into(http.StatusOK, &got)
	require.Equal(t, 3, got.Accepted)
	require.Equal(t, 3, got.Rejected)
	require.Len(t, got.Results, 6)
	for n, result := range got.Results {
		require.Equal(t, n, result.Index)
		require.NotEqual(t, result.ID == nil, result.Error == nil)
	}
	require.ElementsMatch(t, []string{"to invalid_phone_number", "content blank"}, got.Results[1].Error.invalidFields())
	require.Equal(t, got.Results[0].ID, got.Results[2].ID, "one key is one message, also within a batch")
	require.True(t, got.Results[2].Repeated)
	require.Equal(t, "malformed", got.Results[3].Error.Code)
	require.Equal(t, http.StatusBadRequest, got.Results[3].Error.Status)
	require.Equal(t, "idempotency_key_reused", got.Results[4].Error.Code)

	var page listed
	i.send(http.MethodGet, messages, "").into(http.StatusOK, &page)
	require.Len(t, page.Data, 2)
	require.Equal(t, *got.Results[5].ID, page.Data[0].ID, "the ids of a batch are in its order")
}

func TestABatchHasLimits(t *testing.T) {
	t.Parallel()
	i := start(t)
	i.send(http.MethodPost, batches, `[]`).invalidFields(" out_of_range")
	i.send(http.MethodPost, batches, hello).problem(http.StatusBadRequest, "malformed")
	i.send(http.MethodPost, batches, `null`).problem(http.StatusBadRequest, "malformed")
	i.send(http.MethodPost, batches, `[`+hello+`]`, "Idempotency-Key", "k").invalidFields("Idempotency-Key not_supported")
	i.send(http.MethodPost, batches, batchOf(1001)).invalidFields(" out_of_range")

	var got struct{ Accepted, Rejected int }
	i.send(http.MethodPost, batches, batchOf(1000)).into(http.StatusOK, &got)
	require.Equal(t, 1000, got.Accepted)
	require.Zero(t, got.Rejected)
}

func TestEverythingElseWorksWhileNATSIsDown(t *testing.T) {
	t.Parallel()
	i := start(t)
	require.NoError(t, i.store.ProvisionSchedule(t.Context(), time.Minute, 2))
	i.post(hello)

	var report struct {
		Status string
		Checks map[string]struct{ Status string }
	}
	i.send(http.MethodGet, "/health/ready", "").into(http.StatusOK, &report)
	require.Equal(t, "degraded", report.Status)
	require.Equal(t, "ok", report.Checks["postgres"].Status)
	require.Equal(t, "degraded", report.Checks["nats"].Status)

	for _, verb := range []string{"start", "stop"} {
		refused := i.send(http.MethodPost, "/api/v1/messaging/"+verb, "")
		refused.problem(http.StatusServiceUnavailable, "control_unavailable")
		require.NotEmpty(t, refused.header.Get("Retry-After"))
	}
	i.send(http.MethodPatch, "/api/v1/messaging", `{"interval":"30s"}`).problem(http.StatusServiceUnavailable, "control_unavailable")
	i.send(http.MethodPatch, "/api/v1/messaging", `{"interval":"soon","batchSize":0,"x":1}`).
		invalidFields("interval out_of_range", "batchSize out_of_range", "x unknown_field")

	var overview message.Overview
	i.send(http.MethodGet, statusPath, "").into(http.StatusOK, &overview)
	require.Equal(t, message.StateRunning, overview.State)
	require.EqualValues(t, 1, overview.Counts[message.Pending])
	require.NotNil(t, overview.Instances)
}

func TestAnInstallationWithoutAScheduleSaysSo(t *testing.T) {
	t.Parallel()
	i := start(t)
	refused := i.send(http.MethodGet, statusPath, "")
	refused.problem(http.StatusServiceUnavailable, "unavailable")
	require.Contains(t, string(refused.body), "not provisioned")
}
