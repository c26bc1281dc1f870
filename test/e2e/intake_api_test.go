package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

func TestEventsCarryContentIfConfigured(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	api := w.runIngest("EVENT_CONTENT", "full")
	payload := `{"text":"` + strings.Repeat("<&>", 80_000) + `"}` // 240 kB that escaping would make 1.4 MB
	id := api.post(t, `{"to":"+905551111111","payload":`+payload+`,"metadata":{"a":"b"}}`)
	event := w.events(id, 1)[0]
	require.Equal(t, payload, string(event.Data.Payload))
	require.Equal(t, "b", event.Data.Metadata["a"])
}

// askMessages sends a request to the messages service.
func (w *pipeline) askMessages(verb, body string, headers ...string) *nats.Msg {
	w.t.Helper()
	msg := &nats.Msg{Subject: "dispatch.messages." + verb, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(headers); i += 2 {
		msg.Header.Add(headers[i], headers[i+1])
	}
	var answer *nats.Msg
	testenv.Eventually(w.t, func() bool { // ready means Postgres; the subscriptions may come a moment later
		var err error
		answer, err = w.js.Conn().RequestMsg(msg, waitTimeout)
		return err == nil
	})
	w.wire.exchange(msg, answer)
	return answer
}

// refusedOverNATS checks that a request was refused like its HTTP twin would be.
func (w *pipeline) refusedOverNATS(answer *nats.Msg, status int, code string) {
	w.t.Helper()
	require.Equal(w.t, fmt.Sprint(status), answer.Header.Get(micro.ErrorCodeHeader), "%s", answer.Data)
	require.NotEmpty(w.t, answer.Header.Get(micro.ErrorHeader))
	var p struct {
		Code   string
		Status int
	}
	require.NoError(w.t, json.Unmarshal(answer.Data, &p))
	require.Equal(w.t, status, p.Status)
	require.Equal(w.t, code, p.Code)
}

func TestRequestsOverNATSAreThoseOfHTTP(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	api := w.runIngest()
	var m message.Message
	require.NoError(t, json.Unmarshal(w.askMessages("create", hello).Data, &m))
	require.Equal(t, m, api.get(t, m.ID), "it is committed when it is answered")
	id := `{"id":"` + m.ID.String() + `"}`
	_, _, same := api.request(t, http.MethodGet, "/api/v1/messages/"+m.ID.String(), "")
	require.Equal(t, string(same), string(w.askMessages("get", id).Data))

	require.NoError(t, json.Unmarshal(w.askMessages("cancel", id).Data, &m))
	require.Equal(t, message.Cancelled, m.Status)
	w.refusedOverNATS(w.askMessages("cancel", id), http.StatusConflict, "wrong_state")
	require.NoError(t, json.Unmarshal(w.askMessages("retry", `{"id":"`+m.ID.String()+`","expiresAt":"2100-01-01T00:00:00Z"}`).Data, &m))
	require.Equal(t, message.Pending, m.Status)
	require.Equal(t, 2100, m.ExpiresAt.Year())

	for range 3 {
		w.askMessages("create", hello)
	}
	_, _, same = api.request(t, http.MethodGet, "/api/v1/messages?limit=2&status=pending&status=SENT", "")
	require.Equal(t, string(same), string(w.askMessages("list", `{"limit":2,"status":["pending","SENT"]}`).Data))
	require.Equal(t, string(w.askMessages("list", "").Data), string(w.askMessages("list", "{}").Data))

	w.refusedOverNATS(w.askMessages("create", "hello"), http.StatusBadRequest, "malformed")
	w.refusedOverNATS(w.askMessages("create", "{}"), http.StatusUnprocessableEntity, "invalid")
	w.refusedOverNATS(w.askMessages("create", `{"to":"+905551111111","content":"x","idempotencyKey":"a"}`, "Nats-Msg-Id", "b"), http.StatusUnprocessableEntity, "invalid")
	w.refusedOverNATS(w.askMessages("get", ""), http.StatusBadRequest, "malformed")
	w.refusedOverNATS(w.askMessages("get", "{}"), http.StatusUnprocessableEntity, "invalid")
	w.refusedOverNATS(w.askMessages("get", `{"id":"seven"}`), http.StatusBadRequest, "invalid_parameters")
	w.refusedOverNATS(w.askMessages("get", `{"id":"`+message.NewID(time.Now()).String()+`"}`), http.StatusNotFound, "not_found")
	w.refusedOverNATS(w.askMessages("get", `{"id":"`+m.ID.String()+`","x":1}`), http.StatusUnprocessableEntity, "invalid")
	w.refusedOverNATS(w.askMessages("retry", `{"id":"`+m.ID.String()+`","x":1}`), http.StatusUnprocessableEntity, "invalid")
	w.refusedOverNATS(w.askMessages("get", `{"id":"`+m.ID.String()+`","id":"`+m.ID.String()+`"}`), http.StatusUnprocessableEntity, "invalid")
	w.refusedOverNATS(w.askMessages("retry", `{"id":"`+m.ID.String()+`","expiresAt":"2100-01-01T00:00:00Z","expiresAt":null}`), http.StatusUnprocessableEntity, "invalid")
	w.refusedOverNATS(w.askMessages("list", `{"limit":1,"limit":2}`), http.StatusBadRequest, "invalid_parameters")
	w.refusedOverNATS(w.askMessages("list", `{"limit":0,"x":"y"}`), http.StatusBadRequest, "invalid_parameters")
	w.refusedOverNATS(w.askMessages("list", `{"limit":{}}`), http.StatusBadRequest, "invalid_parameters")
	w.refusedOverNATS(w.askMessages("list", `[]`), http.StatusBadRequest, "malformed")
}

func TestWithNATSAwayMessagesAreAcceptedAndPublishedLater(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	api := w.runIngest()
	w.stopNATS()
	ids := []message.ID{}
	for range 20 {
		ids = append(ids, api.post(t, hello))
	}
	status, header, body := api.request(t, http.MethodPost, "/api/v1/messaging/stop", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, string(body), "control_unavailable")
	require.NotEmpty(t, header.Get("Retry-After"))
	status, _, _ = api.request(t, http.MethodGet, "/api/v1/messaging/status", "")
	require.Equal(t, http.StatusOK, status)
	rows, _, err := w.store.OutboxBacklog(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 20, rows, "a row of each commit holds what is to be told")

	w.startNATS()
	w.runDispatcher()
	w.runSender()
	for _, id := range ids {
		w.awaitStatus(id, message.Sent)
		require.Contains(t, kinds(w.events(id, 3)), message.EventCreated)
	}
	w.publishIntake("dispatch.intake.default", hello)
	w.awaitIntakeEmpty()
}

func TestAnIngestMayStartBeforeNATS(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.stopNATS()
	api := w.runIngest()
	api.post(t, hello)
	w.startNATS()
	testenv.Eventually(t, w.js.Conn().IsConnected)
	w.publishIntake("dispatch.intake.default", hello)
	w.awaitIntakeEmpty()
	require.NotEmpty(t, w.askMessages("create", hello).Data)
}

func TestThePaceIsSetThroughADispatcher(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	api := w.runIngest()
	status, _, body := api.request(t, http.MethodPost, "/api/v1/messaging/stop", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, string(body), "no dispatcher is running")

	w.runDispatcher()
	var overview message.Overview
	testenv.Eventually(t, func() bool {
		status, _, body = api.request(t, http.MethodPost, "/api/v1/messaging/stop", "")
		return status == http.StatusOK
	})
	require.NoError(t, json.Unmarshal(body, &overview))
	require.Equal(t, message.StateStopped, overview.State)
	status, _, body = api.request(t, http.MethodPatch, "/api/v1/messaging", `{"interval":"30s","batchSize":7}`)
	require.Equal(t, http.StatusOK, status, "%s", body)
	require.NoError(t, json.Unmarshal(body, &overview))
	require.Equal(t, 7, overview.BatchSize)

	testenv.Eventually(t, func() bool { // who is there is asked every 2 s
		_, _, body = api.request(t, http.MethodGet, "/api/v1/messaging/status", "")
		require.NoError(t, json.Unmarshal(body, &overview))
		return len(overview.Instances) == 2
	})
	require.Equal(t, "dispatcher", overview.Instances[0].Service)
	require.Equal(t, "ingest", overview.Instances[1].Service)
	require.Equal(t, message.StateStopped, overview.State)
	require.Equal(t, message.Duration(30*time.Second), overview.Interval)
}
