package ingest_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnInvalidErasureIsRejected(t *testing.T) {
	t.Parallel()
	i := start(t)
	for query, want := range map[string][]string{
		"":                            {"to required"},
		"to=":                         {"to blank"},
		"to=nobody":                   {"to invalid_phone_number"},
		"to=%2B1":                     {"to invalid_phone_number"},
		"to=%00":                      {"to invalid_character"},
		"to=%2B905551111111&to=%2B1":  {"to duplicate_field"},
		"to=%2B905551111111&dryRun=x": {"dryRun invalid_value"},
		"status=SENT":                 {"status unknown_parameter", "to required"},
	} {
		p := i.send(http.MethodDelete, messages+"?"+query, "").problem(http.StatusBadRequest, "invalid_parameters")
		require.ElementsMatch(t, want, p.invalidFields(), query)
	}
	i.send(http.MethodDelete, messages+"?to=%2B905551111111", `{"to":"x"}`).problem(http.StatusBadRequest, "malformed")
}

// A result must never promise more than was erased.
func TestNothingIsErasedWhileNATSIsDown(t *testing.T) {
	t.Parallel()
	i := start(t)
	m := i.post(hello)
	refused := i.send(http.MethodDelete, messages+"?to="+url.QueryEscape(m.To), "")
	require.Contains(t, refused.problem(http.StatusServiceUnavailable, "unavailable").Detail, "NATS")
	require.NotEmpty(t, refused.header.Get("Retry-After"))
	i.send(http.MethodGet, messages+"/"+m.ID.String(), "").message(http.StatusOK)
}

// It waits for the statement timeout.
func TestAListThatTakesTooLongSaysSo(t *testing.T) {
	t.Parallel()
	i := start(t)
	m := i.post(hello)
	tx, err := i.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE messages")
	require.NoError(t, err)
	refused := i.send(http.MethodGet, messages+"?status=PENDING", "")
	refused.problem(http.StatusServiceUnavailable, "query_too_slow")
	require.NotEmpty(t, refused.header.Get("Retry-After"))
	require.NoError(t, tx.Rollback(t.Context()))
	require.Equal(t, m.ID, i.list("status=PENDING").Data[0].ID)
}
