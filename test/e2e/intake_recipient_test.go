package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestANumberAsItIsCopiedIsOneRecipientAtEveryDoor hands one number in with
// what comes along when people copy it, and finds and erases it by yet another
// form.
func TestANumberAsItIsCopiedIsOneRecipientAtEveryDoor(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	api := w.runIngest()
	body := func(number string) string {
		return `{"to":"` + number + `","content":"x","deliverAt":"2090-01-01t00:00:00z"}`
	}
	api.post(t, body("\u202a+90\u00a0555\u00a0333\u00a033\u00a033\u202c"))
	status, _, answer := api.request(t, http.MethodPost, "/api/v1/messages/batch", "["+body("+90\u2011555\u2011333\u201133\u201133")+"]")
	require.Equal(t, http.StatusOK, status, "%s", answer)
	status, _, answer = api.request(t, http.MethodPost, "/api/v1/messages/batch", body("+90\u200b555\u200b3333333"), "Content-Type", "application/jsonl")
	require.Equal(t, http.StatusOK, status, "%s", answer)
	require.Nil(t, w.askMessages("create", body("\u200e+90 555\u202f333\u202f33\u202f33")).Header["Nats-Service-Error"])
	w.publishIntake("dispatch.intake.default", body("\u2068+90\u2013555\u20133333333\u2069"))
	w.awaitIntakeEmpty()

	const another = "\u202d+90\u2014555\u2014333\u20143333\u202c"
	stored := w.storedMessages()
	require.Len(t, stored, 5)
	for _, m := range stored {
		require.Equal(t, "+905553333333", m.To)
		require.Equal(t, 2090, m.DeliverAt.Year())
	}
	var page struct{ Data []any }
	_, _, answer = api.request(t, http.MethodGet, "/api/v1/messages?to="+url.QueryEscape(another), "")
	require.NoError(t, json.Unmarshal(answer, &page))
	require.Len(t, page.Data, 5)
	require.NoError(t, json.Unmarshal(w.askMessages("list", `{"to":"`+another+`"}`).Data, &page))
	require.Len(t, page.Data, 5)

	w.publishIntake("dispatch.intake.default", `{"to":"+90\u00ad5553333333","content":"x"}`)
	w.awaitIntakeEmpty()
	rejected := w.rejectedMessages()
	require.Len(t, rejected, 1)
	require.Contains(t, rejected[0].Headers().Get("Dispatch-Problem"), "character 4 is U+00AD, which can't be seen")

	require.Equal(t, 5, erase(t, api, "to="+url.QueryEscape(another)).Erased)
}
